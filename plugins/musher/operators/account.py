"""The first task of each DAG: whether the account has what the run needs."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal

from musher import record
from musher.account import needs
from musher.account.check import Check
from musher.account.needs import Needs
from musher.costs import prices
from musher.errors import UserError
from musher.operators.base import MusherOperator, comparison_config, deployment_config, plainly, training_config
from musher.operators.ec2_choosing import ec2_config

if TYPE_CHECKING:
    from airflow.sdk import Context

Run = Literal["training", "deployment", "comparison", "ec2_training", "nothing"]


class CheckAccountOperator(MusherOperator):
    """Compare what the run needs with the account, and end the run with one list of what is missing.

    It only reads, for a few seconds. What cannot be asked is a warning in its log. Parameters: `what` runs; "nothing"
    for a run that launches nothing, which needs the Variable and the bucket alone.
    """

    def __init__(self, *, what: Run, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.what = what

    @plainly
    def execute(self, context: Context) -> None:
        patient = functools.cache(
            lambda service: self.client(service, retries={"mode": "standard", "max_attempts": 10})
        )
        check = Check(patient, self.environment)
        found = check.run(self._needs(context, check))
        for each in found.known:
            self.log.info("%s", each)
        for each in found.unknown:
            self.log.warning("%s", each)
        if found.missing:
            raise UserError(found.sentence())

    def _needs(self, context: Context, check: Check) -> Needs:
        if self.what == "training":
            return needs.training(training_config(context))
        if self.what == "deployment":
            return needs.deployment(deployment_config(context), check.served())
        if self.what == "comparison":
            return needs.comparison(comparison_config(context))
        if self.what == "ec2_training":
            config = ec2_config(context)
            return needs.ec2_training(config.instance_type or self._repeated(config.training_run), spot=config.spot)
        return Needs()

    def _repeated(self, run: str) -> str:
        """The instance type that the run to be repeated asks for; empty where `choose_training` will say what is
        wrong with it."""
        s3, bucket = self.client("s3"), self.environment.bucket
        runs = record.runs_with(s3, bucket, record.Training)
        key = run or (runs[0] if runs else "")
        if key not in runs:
            return ""
        jobs = record.read(s3, bucket, key, record.Training).jobs
        return prices.ec2_type(min(jobs, key=lambda job: job.instances).instance_type)
