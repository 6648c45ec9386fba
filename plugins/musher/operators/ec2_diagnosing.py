"""What rules found in the attempts at a training on EC2, and whether there is to be another one."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from musher import record
from musher.config import Ec2TrainingConfig
from musher.costs import prices
from musher.diagnostics import outcome, remedies
from musher.diagnostics.rules import RETRY, for_a_job
from musher.diagnostics.told import FoundIssue
from musher.ec2 import attempts, history
from musher.names import TRAIN_ON_EC2, Run, attempt_names
from musher.operators.diagnosing import DiagnosingOperator


class Ec2DiagnosingOperator(DiagnosingOperator):
    """Base of the operator that trains on EC2.

    Parameters: `training` what ChooseTrainingOperator returned.
    """

    def __init__(self, *, training: Mapping[str, Any] | Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.training = training
        self._run: Run | None = None
        self._config: Ec2TrainingConfig | None = None

    @functools.cached_property
    def history(self) -> history.History:
        return history.History(self.client("s3"), self.environment.bucket, self._run.key)

    def why_no_remedy(self, fired: remedies.Fired, last: record.DiagnosedJob, course: remedies.Course) -> str | None:
        """Why the training is not run again, "" where nobody asked for it; None where it is to be."""
        config = self._config
        if config.on_issue.get(fired.rule) != RETRY:
            return ""
        if last.job not in course.remedies:
            return remedies.why_no_more(course, config.max_remedies)
        seconds = outcome.expected_seconds(last, config.max_life_minutes * 60)
        market, instance_type = self.history.instances[-1].market, self.training["instance_type"]
        expected = prices.ec2_instance_cost(market, instance_type, seconds, volume_gb=config.volume_gb)
        spent = prices.ec2_training_cost(self.history.instances, instance_type, config.volume_gb)
        return remedies.why_too_dear(spent, expected, config.max_cost_usd)

    def tell_of(self, issues: Sequence[Mapping[str, str]]) -> None:
        """Tell the topic of what rules have found in the attempt that runs."""
        for each in issues:
            issue = FoundIssue(**each)
            self.tell(self._run, issue, about=issue.job, when=" while the job ran", record_key=self.training["run"])

    @property
    def attempt(self) -> str:
        """The name of the attempt that runs, or is to be started."""
        base = self._run.name(self.environment.project, TRAIN_ON_EC2)
        return next(islice(attempt_names(base), len(self.failed_attempts()), None))

    def failed_attempts(self) -> list[dict[str, Any]]:
        return [each for each in self.attempts() if each["TrainingJobStatus"] == "Failed"]

    def attempts(self) -> list[dict[str, Any]]:
        base = self._run.name(self.environment.project, TRAIN_ON_EC2)
        return attempts.of(self.history.instances, base, self.training["instance_type"])

    def course(self, tried: list[dict[str, Any]]) -> remedies.Course:
        values = dict(self.training["hyperparameters"])
        # What the job that is repeated was told comes first, so that this run's choice counts.
        values["rules"] = for_a_job(values.get("rules", "default"), self._config.on_issue)
        return remedies.course(values, tried, self._config.on_issue, self._config.max_remedies, 1)

    def diagnosed(self, tried: list[dict[str, Any]], course: remedies.Course) -> list[record.DiagnosedJob]:
        """All attempts; the output that is there is the newest one's, what is known of the others was recorded."""
        before = {each.job: each for each in self.known_diagnosed(self.training["run"]).jobs}
        jobs, remedy = [], None
        for number, found in enumerate(tried, 1):
            name, newest = found["TrainingJobName"], number == len(tried)
            seconds = found["BillableTimeInSeconds"] or 1.0
            rate = attempts.cost(found, self._config.volume_gb) / seconds
            job = outcome.diagnosed(
                found,
                self.written(f"{self.output}output.tar.gz") if newest else None,
                step=TRAIN_ON_EC2.name,
                attempt=number,
                on_issue=self._config.on_issue,
                remedy=remedy,
                max_runtime_seconds=self._config.max_life_minutes * 60,
                cost=lambda taken, rate=rate: taken * rate,
            )
            jobs.append(job if newest else before.get(name, job))
            remedy = course.remedies.get(name)
        return jobs

    def record_attempts(self, jobs: list[record.DiagnosedJob], course: remedies.Course, *, again: bool) -> None:
        last = jobs[-1]
        if again and (remedy := course.remedies.get(last.job)):
            last = outcome.with_taken(last, remedy.rule, f"it was run again with {remedies.words(remedy)}")
        elif not again:
            last = self.with_told(self._run, last, record_key=self.training["run"])
        self.write_diagnosed(self.training["run"], [*jobs[:-1], last])

    @property
    def output(self) -> str:
        return self.environment.uri("jobs", self._run.name(self.environment.project, TRAIN_ON_EC2), "output", "")
