"""What rules say while a training runs, and whom has been told of it: each issue once, however often it is seen."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from botocore.exceptions import ClientError

from musher import record
from musher.diagnostics.remedies import PREFIX
from musher.diagnostics.rules import NOTIFY, OUT_OF_MEMORY

# As ml_scripts/diagnostics/session.py prints it at the moment that a rule fires.
_ANNOUNCED = re.compile(rf"{PREFIX} (\w+): IssuesFound step=(\S+) value=(\S+) threshold=(\S+): (.+)")
# What becomes of an issue where a worker is gone before it can say more.
UNKNOWN = "a worker ended while it told the topic, which has heard of it or not"
# S3's words for a condition that another worker's write has made false (S3 API reference, PutObject).
_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict"}


@dataclass(frozen=True)
class FoundIssue:
    """What a rule found in a job, for a person: the figures are texts."""

    job: str
    rule: str
    sentence: str
    step: str
    value: str
    threshold: str

    @classmethod
    def of(cls, job: str, rule: record.RuleOutcome) -> Self:
        return cls(job, rule.rule, rule.status_details, str(rule.step), str(rule.value), str(rule.threshold))

    def to_json(self) -> dict[str, str]:
        return asdict(self)

    @property
    def text(self) -> str:
        """Two paragraphs' worth of a message."""
        return f"{self.sentence}\n\nStep {self.step}, value {self.value}, threshold {self.threshold}."


def announced(job: str, line: str) -> FoundIssue | None:
    """The issue that a line of a job's log tells of; None for any other line."""
    found = _ANNOUNCED.search(line)
    if not found:
        return None
    rule, step, value, threshold, sentence = found.groups()
    return FoundIssue(job, rule, sentence.strip(), step, value, threshold)


def to_be_told(on_issue: Mapping[str, str]) -> list[str]:
    """The rules whose issues somebody is to be told of while the job runs; without memory it has ended already."""
    return sorted(rule for rule, action in on_issue.items() if action == NOTIFY and rule != OUT_OF_MEMORY)


class Told:
    """Which issues of a run's jobs somebody was told of: one object on S3 each, which only one worker can make.

    A task that is deferred, tried again or cleared, and a worker that was taken for dead, all come to the same object.
    """

    def __init__(self, s3: Any, bucket: str, run_key: str) -> None:
        self.s3, self.bucket, self.run_key = s3, bucket, run_key
        self._known: dict[str, str] = {}

    def once(self, job: str, rule: str, tell: Callable[[], str], done: str) -> str:
        """Have somebody told of an issue, unless that was done before; what became of it, for a person.

        Parameters: `tell` tells, and returns "" or a sentence on why it could not: then the next one tries again;
        `done` what is remembered when it could.
        """
        key = f"{record.prefix(self.run_key)}told/{job}.{rule}.json"
        if key in self._known:
            return self._known[key]
        found, tag = self._read(key)
        if found.get("told", False) or not self._write(key, {"told": True, "outcome": UNKNOWN}, tag):
            self._known[key] = (found if found.get("told") else self._read(key)[0]).get("outcome", UNKNOWN)
            return self._known[key]
        problem = tell()
        self._write(key, {"told": not problem, "outcome": problem or done}, None, over=True)
        if not problem:
            self._known[key] = done
        return problem or done

    def _read(self, key: str) -> tuple[Mapping[str, Any], str | None]:
        """What an object says, and its ETag; nothing, and None, before there is one."""
        try:
            found = self.s3.get_object(Bucket=self.bucket, Key=key)
        except self.s3.exceptions.NoSuchKey:
            return {}, None
        return json.loads(found["Body"].read()), found["ETag"]

    def _write(self, key: str, content: Mapping[str, Any], tag: str | None, *, over: bool = False) -> bool:
        """Whether it was written: not where another worker was faster, unless it is written `over` what there is."""
        condition = {} if over else {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
        body = json.dumps({**content, "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds")}).encode()
        try:
            self.s3.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType="application/json", **condition)
        except ClientError as error:
            if error.response["Error"]["Code"] in _TAKEN:
                return False
            raise
        return True
