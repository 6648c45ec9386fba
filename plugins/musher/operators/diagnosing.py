"""What operators that train share about the rules of a training: record them, tell of them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from musher import record
from musher.diagnostics import outcome, told
from musher.job_output import JobOutputError, read_diagnostics
from musher.names import Run
from musher.operators.base import MusherOperator

TOLD = "the topic was told"


def output_of(found: Mapping[str, Any]) -> str:
    """Where a job leaves its output, also one that failed, which has no model (DescribeTrainingJob)."""
    return f"{found['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{found['TrainingJobName']}/output/output.tar.gz"


class DiagnosingOperator(MusherOperator):
    """Base of the operators that train."""

    def written(self, output_data: str) -> outcome.JobDiagnostics | None:
        """A job's diagnostics.json; None where there is none that can be read, which is no reason to fail."""
        try:
            return read_diagnostics(self.client("s3"), output_data)
        except JobOutputError as error:
            self.log.warning("The record is without the diagnostics of a job: %s", error)
            return None

    def known_diagnosed(self, run_key: str) -> record.Diagnostics:
        """What the record has of a run's jobs so far."""
        try:
            known = record.read(self.client("s3"), self.environment.bucket, run_key, record.Diagnostics)
        except record.RecordError as error:
            self.log.warning("What was known of earlier jobs' diagnostics is written anew: %s", error)
            known = None
        return known or record.Diagnostics()

    def write_diagnosed(self, run_key: str, jobs: Sequence[record.DiagnosedJob]) -> None:
        """Add jobs to the part `diagnostics` of a run's record."""
        self.write_part(run_key, self.known_diagnosed(run_key).with_jobs(list(jobs)))
        for job in jobs[-1:]:
            for each in job.rules:
                if each.fired:
                    self.log.warning("%s: %s: %s", job.job, each.rule, each.status_details)

    def rules_to_tell(self, on_issue: Mapping[str, str]) -> list[str]:
        """The rules to look for while a job runs; none where there is nobody to tell."""
        return told.to_be_told(on_issue) if self.environment.notifications_topic_arn else []

    def tell(
        self, run: Run, issue: told.FoundIssue, *, about: str, when: str = "", what: str = "", record_key: str = ""
    ) -> str:
        """Tell the topic of what a rule found, unless it was told of that rule in `about` before; what became of it.

        Parameters: `about` a job, or the tuning job of a trial; `when` what is added to the outcome; `what` names the
        job for a person; `record_key` the run in whose record it is. What is left out is the job's and the run's own.
        """
        if not self.environment.notifications_topic_arn:
            return "nobody was told: the Variable musher has no notifications_topic_arn"
        message = (
            f"{issue.rule} found something in {what or issue.job}: {issue.text}\n"
            f"DAG {run.dag_id}, run {run.run_id}; the record is in runs/{record_key or run.key}/."
        )
        subject = f"{issue.rule} found something in {issue.job}"
        known = self._told.setdefault(run.key, told.Told(self.client("s3"), self.environment.bucket, run.key))
        return known.once(about, issue.rule, lambda: self.notify(subject, message), TOLD + when)

    @functools.cached_property
    def _told(self) -> dict[str, told.Told]:
        return {}

    def with_told(
        self, run: Run, job: record.DiagnosedJob, *, about: str = "", record_key: str = ""
    ) -> record.DiagnosedJob:
        """A job that has ended, its topic told of what it is to be told of; parameters as `tell` has them."""
        for each in outcome.to_be_told(job):
            issue = told.FoundIssue.of(job.job, each)
            became = self.tell(run, issue, about=about or job.job, record_key=record_key)
            job = outcome.with_taken(job, each.rule, became)
        return job
