"""CreateTrainingJob."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from musher.config import Environment, TrainingConfig
from musher.diagnostics.rules import for_a_job
from musher.names import Run
from musher.request_parameters import common

OBJECTIVE = "valid:loss"

_NUMBER = "([0-9.eE+-]+)"

# What ml_scripts prints, as metrics. The objective is the running best: a trial is judged by the epoch it keeps.
METRIC_DEFINITIONS = [
    {"Name": "train:loss", "Regex": rf"train_loss={_NUMBER}"},
    {"Name": OBJECTIVE, "Regex": rf"best_valid_loss={_NUMBER}"},
    {"Name": "valid:accuracy", "Regex": rf"valid_accuracy={_NUMBER}"},
    {"Name": "test:loss", "Regex": rf"test_loss={_NUMBER}"},
    {"Name": "test:accuracy", "Regex": rf"test_accuracy={_NUMBER}"},
    {"Name": "diagnostics:issues", "Regex": r"diagnostics: issues=([0-9]+)"},
    {"Name": "diagnostics:issue_at_step", "Regex": r"DiagnosticRule \w+: IssuesFound step=([0-9]+)"},
]


@dataclass(frozen=True)
class Inputs:
    """What a job reads, as S3 prefixes that end with a slash.

    `dataset` holds train/, valid/ and test/; `code` holds sourcedir.tar.gz; `pretrained` the backbone's weights.
    """

    dataset: str
    code: str
    pretrained: str

    def channels(self) -> list[dict[str, Any]]:
        """The five channels of a training job."""
        return [
            *(common.channel(split, f"{self.dataset}{split}/") for split in ("train", "valid", "test")),
            common.channel("pretrained", self.pretrained),
            common.channel("code", self.code),
        ]


def hyperparameters(config: TrainingConfig, best: Mapping[str, str] | None = None, **changes: object) -> dict[str, str]:
    """What train.py is told: the configuration, then the values of the best trial, then `changes` (underscores for
    hyphens: `batch_size=32`).

    `best` may be all the hyperparameters of a finished job: those that are SageMaker's own are left out.
    """
    values: dict[str, object] = {
        "backbone": config.backbone,
        "finetune": config.finetune,
        "head": config.head,
        "epochs": config.epochs,
        "augment-views": config.augment_views,
        "patience": config.patience,
        "seed": config.seed,
        "max-unreadable-share": config.max_unreadable_share,
        "rules": for_a_job(config.rules, config.on_issue),
        "profile": config.profile,
    }
    values |= {name: (best or {})[name] for name in ("lr", "batch-size") if name in (best or {})}
    values |= {name.replace("_", "-"): value for name, value in changes.items()}
    return {name: common.plain(value) for name, value in values.items()}


def checkpoint_config(env: Environment, name: str) -> dict[str, str]:
    """Where a job of this name keeps what its next start goes on from."""
    return {"S3Uri": env.uri("checkpoints", name, ""), "LocalPath": "/opt/ml/checkpoints"}


def job_definition(config: TrainingConfig, env: Environment, inputs: Inputs, *, instances: int) -> dict[str, Any]:
    """What a training job and a tuning job's trials have in common.

    On managed Spot a job that AWS interrupts waits for capacity and starts again; `max_wait_seconds` counts all of
    that. Source: SageMaker developer guide, "Managed Spot Training in Amazon SageMaker AI".
    """
    definition = {
        "AlgorithmSpecification": {
            "TrainingImage": env.image_for_training(config.training_instance_type),
            "TrainingInputMode": "File",
            "MetricDefinitions": METRIC_DEFINITIONS,
        },
        "RoleArn": env.training_role_arn,
        "InputDataConfig": inputs.channels(),
        "OutputDataConfig": {"S3OutputPath": env.uri("jobs")},
        "ResourceConfig": {
            "InstanceType": config.training_instance_type,
            "InstanceCount": instances,
            "VolumeSizeInGB": config.volume_gb,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": config.max_runtime_seconds},
        "EnableNetworkIsolation": True,
    }
    if config.managed_spot:
        definition["EnableManagedSpotTraining"] = True
        definition["StoppingCondition"]["MaxWaitTimeInSeconds"] = config.max_wait_seconds
    return definition


def training(
    config: TrainingConfig,
    env: Environment,
    hyperparameters: Mapping[str, object],
    *,
    instances: int,
    name: str,
    run: Run,
    inputs: Inputs,
) -> dict[str, Any]:
    """CreateTrainingJob request for one training run, on one instance or on several that share the work.

    Parameters: `hyperparameters` from the function of that name, without the leading dashes; `batch-size` counts over
    all instances together. Checkpoints are kept under the job's name, so that a restarted job goes on.
    Source: SageMaker API reference, CreateTrainingJob.
    """
    return {
        "TrainingJobName": name,
        **job_definition(config, env, inputs, instances=instances),
        "HyperParameters": common.script_mode(env, "train.py", hyperparameters, distributed=instances > 1),
        "CheckpointConfig": checkpoint_config(env, name),
        "Tags": common.tags(env, run),
    }
