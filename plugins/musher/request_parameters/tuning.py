"""CreateHyperParameterTuningJob."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from musher.config import Environment, TrainingConfig
from musher.diagnostics.rules import for_a_job
from musher.names import Run
from musher.request_parameters import common
from musher.request_parameters.training import OBJECTIVE, Inputs, checkpoint_config, job_definition

_TUNED = ("lr", "batch-size")


def _ranges(config: TrainingConfig) -> dict[str, Any]:
    batch_size = {"Name": "batch-size", "Values": [common.text(size) for size in config.batch_sizes]}
    if config.strategy == "Grid":  # which takes categories only
        rates = {"Name": "lr", "Values": [common.text(rate) for rate in config.grid_learning_rates]}
        return {"CategoricalParameterRanges": [rates, batch_size]}
    rate = {
        "Name": "lr",
        "MinValue": common.text(config.learning_rate_min),
        "MaxValue": common.text(config.learning_rate_max),
        "ScalingType": "Logarithmic",
    }
    return {"ContinuousParameterRanges": [rate], "CategoricalParameterRanges": [batch_size]}


def tuning(
    config: TrainingConfig,
    env: Environment,
    hyperparameters: Mapping[str, object],
    *,
    name: str,
    run: Run,
    inputs: Inputs,
) -> dict[str, Any]:
    """CreateHyperParameterTuningJob request: trials on one instance each, for the lowest validation loss.

    `hyperparameters` as for `training`; the number of epochs is replaced by `tuning_epochs`, the
    pictures are taken as they are (no augmented views), a rule that stops ends a trial early, and what is tuned is left
    to the tuner. A grid has no limit on its number of trials: AWS refuses any number but that of the combinations.
    Trials on managed Spot go on from checkpoints, below the tuning job's name; the script keeps them apart, since one
    definition names one place for all of them.
    Source: SageMaker API reference, CreateHyperParameterTuningJob; developer guide, "Hyperparameter tuning strategies".
    """
    static = {key: value for key, value in hyperparameters.items() if key not in _TUNED}
    static["epochs"] = config.tuning_epochs
    # Altered views raise the final accuracy, not the order of the trials, and would make each of them as long.
    static["augment-views"] = "0"
    static["rules"] = for_a_job(config.rules, config.on_issue, trial=True)
    checkpoints = {}
    if config.managed_spot:
        static["checkpoint-per-job"] = "true"
        checkpoints["CheckpointConfig"] = checkpoint_config(env, name)
    limits = {"MaxParallelTrainingJobs": config.max_parallel_jobs}
    if config.strategy != "Grid":
        limits["MaxNumberOfTrainingJobs"] = config.max_jobs
    return {
        "HyperParameterTuningJobName": name,
        "HyperParameterTuningJobConfig": {
            "Strategy": config.strategy,
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": OBJECTIVE},
            "ResourceLimits": limits,
            "ParameterRanges": _ranges(config),
            "TrainingJobEarlyStoppingType": "Auto" if config.early_stopping else "Off",
            "RandomSeed": config.seed,
        },
        "TrainingJobDefinition": {
            **job_definition(config, env, inputs, instances=1),
            **checkpoints,
            "StaticHyperParameters": common.script_mode(env, "train.py", static, distributed=False),
        },
        "Tags": common.tags(env, run),
    }
