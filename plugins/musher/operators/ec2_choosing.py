"""Before a training on EC2: which training is repeated, and on what host."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from musher import record
from musher.account import network
from musher.config import Ec2TrainingConfig
from musher.costs import prices, projection
from musher.errors import UserError
from musher.hooks.ec2 import Ec2Hook
from musher.hooks.sagemaker_jobs import TRAINING, SageMakerJobHook
from musher.operators.base import MusherOperator, plainly
from musher.operators.costs import check_projection
from musher.request_parameters.common import given
from musher.staging.code import staged_code

if TYPE_CHECKING:
    from airflow.sdk import Context

CHANNELS = ("train", "valid", "test", "pretrained")


def ec2_config(context: Mapping[str, Any]) -> Ec2TrainingConfig:
    """What this run was told, checked. Raises ConfigError."""
    return Ec2TrainingConfig.from_params(dict(context["params"]))


class ChooseTrainingOperator(MusherOperator):
    """Find the training run to repeat: its data, code, weights and hyperparameters.

    From its one-instance job, or, where it has trained on several instances only, from that one: the script and what it
    is told are the same.

    Returns `{run, job, hyperparameters, channels, code, instance_type, seconds}`.
    """

    aws_hook_class = SageMakerJobHook

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(multiple_outputs=True, **kwargs)

    @plainly
    def execute(self, context: Context) -> dict[str, Any]:
        config, s3, bucket = ec2_config(context), self.client("s3"), self.environment.bucket
        runs = record.runs_with(s3, bucket, record.Training)
        key = config.training_run or (runs[0] if runs else "")
        if not key:
            raise UserError("No training run has left a record yet: run train_image_classifier first.")
        if key not in runs:
            near = difflib.get_close_matches(key, runs, n=1, cutoff=0) or ["nothing"]
            raise UserError(f"training_run is {key!r}, which has trained nothing; the nearest that did is {near[0]}.")
        jobs = record.read(s3, bucket, key, record.Training).jobs
        one = min(jobs, key=lambda job: job.instances)
        if one.instances > 1:
            self.log.info("The run %s trained on %d instances only: one does all of it here", key, one.instances)
        found = self.hook.describe(TRAINING, one.job)
        if found is None:
            raise UserError(f"SageMaker does not know the training job {one.job} of training_run {key} any more.")
        uris = {each["ChannelName"]: each["DataSource"]["S3DataSource"]["S3Uri"] for each in found["InputDataConfig"]}
        self.log.info("Repeating %s of the run %s", one.job, key)
        training = {
            "run": key,
            "job": one.job,
            "hyperparameters": given(found["HyperParameters"]),
            "channels": {name: uris[name] for name in CHANNELS},
            "code": uris["code"],
            "instance_type": config.instance_type or prices.ec2_type(one.instance_type),
            "seconds": one.wall_seconds and one.wall_seconds * one.instances,
        }
        self._check_cost(context, config, training)
        staged_code(s3, training["code"])
        return training

    def _check_cost(self, context: Context, config: Ec2TrainingConfig, training: Mapping[str, Any]) -> None:
        """Write the projection, and refuse what costs more than `max_cost_usd` before anything is launched."""
        projected = projection.ec2_training(
            training["instance_type"],
            prices.SPOT if config.spot else prices.ON_DEMAND,
            training["seconds"],
            config.max_life_minutes * 60,
            volume_gb=config.volume_gb,
        )
        check_projection(self, context, "ec2_training", projected, config.max_cost_usd, "training on EC2")


class ResolveHostOperator(MusherOperator):
    """What an instance is launched with: the image, the security group, the instance profile; each one checked.

    Returns `{ami, root_device}`.
    """

    aws_hook_class = Ec2Hook

    @plainly
    def execute(self, context: Context) -> dict[str, str]:
        env = self.environment
        for name in ("ec2_instance_profile", "ec2_security_group"):
            if not getattr(env, name):
                raise UserError(f"Airflow Variable musher: {name} is missing; training on EC2 needs it.")
        ami, root_device = self.hook.image(ec2_config(context).ami_parameter)
        problems = [*network.problems(self.hook.conn, env)]
        if not network.profile(self.client("iam"), env.ec2_instance_profile)["Roles"]:
            problems.append(
                f"Airflow Variable musher: ec2_instance_profile is {env.ec2_instance_profile!r}, which does not exist "
                "or has no role."
            )
        if problems:
            raise UserError(problems[0])
        self.log.info("The image is %s", ami)
        return {"ami": ami, "root_device": root_device}
