"""CreateTrainingJob for evaluate.py: a finished model measured on a test set."""

from __future__ import annotations

from typing import Any

from musher.config import Environment, TrainingConfig
from musher.names import Run
from musher.request_parameters import common
from musher.request_parameters.training import METRIC_DEFINITIONS, Inputs


def evaluation_job(
    config: TrainingConfig, env: Environment, *, name: str, run: Run, inputs: Inputs, model_data: str
) -> dict[str, Any]:
    """CreateTrainingJob request that measures the model archive at `model_data` (an s3:// URI) on the test pictures.

    A training job, because it has the channels, the isolation and the billing we want; it trains nothing.
    Writes evaluation.json into output.tar.gz.
    """
    return {
        "TrainingJobName": name,
        "AlgorithmSpecification": {
            "TrainingImage": env.image_for_training(config.training_instance_type),
            "TrainingInputMode": "File",
            "MetricDefinitions": [metric for metric in METRIC_DEFINITIONS if metric["Name"].startswith("test:")],
        },
        "RoleArn": env.training_role_arn,
        "InputDataConfig": [
            common.channel("model", model_data),
            common.channel("test", f"{inputs.dataset}test/"),
            common.channel("code", inputs.code),
        ],
        "OutputDataConfig": {"S3OutputPath": env.uri("jobs")},
        "ResourceConfig": {
            "InstanceType": config.training_instance_type,
            "InstanceCount": 1,
            "VolumeSizeInGB": config.volume_gb,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": config.max_runtime_seconds},
        "EnableNetworkIsolation": True,
        "HyperParameters": common.script_mode(env, "evaluate.py", {}, distributed=False),
        "Tags": common.tags(env, run),
    }
