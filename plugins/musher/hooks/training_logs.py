"""What training jobs say while they run: SageMaker sends each line to CloudWatch Logs."""

from __future__ import annotations

import re
from typing import Any

from musher.diagnostics.remedies import PREFIX
from musher.diagnostics.told import FoundIssue, announced
from musher.hooks.aws import AwsHook
from musher.hooks.sagemaker_jobs import TUNING, JobKind

# Every training job's of the account; each instance has the stream <job>/algo-<n>-<when>.
# Source: SageMaker developer guide, "Log groups and streams that Amazon SageMaker AI sends to CloudWatch Logs".
LOG_GROUP = "/aws/sagemaker/TrainingJobs"
# CloudWatch Logs takes a line in some seconds after it was written.
LATE_SECONDS = 120.0


class TrainingLogsHook(AwsHook):
    """Reads the issues that rules have announced."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["client_type"] = "logs"
        super().__init__(*args, **kwargs)

    def issues(self, kind: JobKind, name: str, since: float) -> list[FoundIssue]:
        """The issues announced by a training job or by a tuning job's trials, the first of each rule.

        Parameters: `since` Unix seconds; lines before are left out.
        """
        asked = {
            "logGroupName": LOG_GROUP,
            "logStreamNamePrefix": f"{name}-" if kind is TUNING else f"{name}/",
            "filterPattern": PREFIX,
            "startTime": int(max(0.0, since) * 1000),
        }
        found: dict[str, FoundIssue] = {}
        try:
            for page in self.conn.get_paginator("filter_log_events").paginate(**asked):
                for event in page["events"]:
                    job = job_of(kind, name, event["logStreamName"])
                    if job and (issue := announced(job, event["message"])):
                        found.setdefault(issue.rule, issue)
        except self.conn.exceptions.ResourceNotFoundException:  # the account's first job has said nothing yet
            return []
        return list(found.values())


def job_of(kind: JobKind, name: str, stream: str) -> str | None:
    """The training job whose log stream it is, if it is this one or a trial of this tuning job; else None.

    A trial has the tuning job's name, its number and eight hexadecimal digits: a name that only begins alike, such as
    that of a second attempt, is another job's.
    """
    job = stream.partition("/")[0]
    pattern = rf"{re.escape(name)}-\d{{3,}}-[0-9a-f]{{8}}" if kind is TUNING else re.escape(name)
    return job if re.fullmatch(pattern, job) else None
