"""What operators that train share about the rules of a training: record them, tell of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from musher import record
from musher.diagnostics import outcome
from musher.job_output import JobOutputError, read_diagnostics
from musher.names import Run
from musher.operators.base import MusherOperator


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

    def told(self, run: Run, job: record.DiagnosedJob, what: str = "") -> record.DiagnosedJob:
        """Tell the topic of what rules found whose issues it is to be told, unless it was before; the job with what
        became of that.

        Parameters: `what` names the job for a person; the job's own name when left out.
        """
        to_be_told = outcome.to_be_told(job)
        known = self.known_diagnosed(run.key).jobs if to_be_told else []
        before = {
            rule.rule for each in known if each.job == job.job for rule in each.rules if outcome.TOLD in rule.taken
        }
        for each in to_be_told:
            message = (
                f"{each.rule} found something in {what or job.job}: {each.status_details}\n\n"
                f"Step {each.step}, value {each.value}, threshold {each.threshold}.\n"
                f"DAG {run.dag_id}, run {run.run_id}; the record is in runs/{run.key}/."
            )
            problem = ""
            if not self.environment.notifications_topic_arn:
                problem = "nobody was told: the Variable musher has no notifications_topic_arn"
            elif each.rule not in before:
                problem = self.notify(f"{each.rule} found something in {job.job}", message)
            job = outcome.with_taken(job, each.rule, problem or outcome.TOLD)
        return job
