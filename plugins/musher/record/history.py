"""One line a run, for all runs of a DAG: `runs/history/<dag>.json`, so that what happened over months is one object to
read and not a thousand."""

from __future__ import annotations

import json
import random
import re
import time
from typing import Any, ClassVar, Literal

from botocore.exceptions import ClientError

from musher.record.part import Entry, Part, RecordError

PREFIX = "runs/history/"
# The newest ones; older runs are still in their own folders.
MOST_RUNS = 1_000
_TRIES = 8
_REFUSED = {"PreconditionFailed", "ConditionalRequestConflict"}


class PastRun(Entry):
    """How a run went.

    `run` the folder of its record, or of the one that it added to; `at` when it had its report (ISO 8601, UTC) and
    `seconds` how long it had taken until then. `state` and `headline` as its report begins (report.summary.RunOutcome).
    `told` what it was started with, where that was not the default. `cost_usd` of the record, `capacity_rps` requests a
    second of one instance, `p99_ms` under load. `released` where it changed what serves, `config` the endpoint
    configuration that serves since then. What a run did not find out is None.
    """

    dag: str
    run_id: str
    run: str
    at: str
    seconds: float | None = None
    state: str
    headline: str
    because: str = ""
    told: dict[str, Any] = {}
    dataset_version: str | None = None
    images: dict[str, int] = {}
    backbone: str | None = None
    hyperparameters: dict[str, Any] = {}
    accuracy: float | None = None
    test_images: int | None = None
    loss: float | None = None
    package_arn: str | None = None
    cost_usd: float | None = None
    instance_type: str | None = None
    capacity_rps: float | None = None
    p99_ms: float | None = None
    released: Literal["released", "rolled back"] | None = None
    config: str | None = None


class History(Part):
    """The newest runs of a DAG, the newest one first."""

    NAME: ClassVar[str] = "history"

    runs: list[PastRun] = []

    def with_run(self, run: PastRun) -> History:
        """This and one run more, in the place of what was known of it before."""
        others = [each for each in self.runs if each.run_id != run.run_id]
        runs = sorted([run, *others], key=lambda each: each.at, reverse=True)
        return History(runs=runs[:MOST_RUNS])


def key(dag: str) -> str:
    """Where a DAG's history is; its id fit for a key."""
    return f"{PREFIX}{re.sub(r'[^A-Za-z0-9._-]', '-', dag)}.json"


def remember(s3: Any, bucket: str, run: PastRun) -> None:
    """Add a run to its DAG's history. Who writes at the same time loses nothing: S3 refuses the second one, who tries
    again.

    Raises RecordError when others are quicker again and again, or when a newer Musher has written it.
    """
    for attempt in range(_TRIES):
        history, tag = look(s3, bucket, run.dag)
        condition = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
        body = json.dumps(history.with_run(run).to_json(), ensure_ascii=False, allow_nan=False).encode()
        try:
            s3.put_object(Bucket=bucket, Key=key(run.dag), Body=body, ContentType="application/json", **condition)
            return
        except ClientError as error:
            if error.response["Error"]["Code"] not in _REFUSED:
                raise
            time.sleep(random.uniform(0, 0.1 * 2**attempt))
    raise RecordError(f"{key(run.dag)} was changed by others {_TRIES} times in a row; {run.run_id} is not in it.")


def look(s3: Any, bucket: str, dag: str) -> tuple[History, str | None]:
    """A DAG's history and its ETag; an empty one, and None, where there is none yet. One that is no JSON is begun anew.

    Raises RecordError when it cannot be read otherwise.
    """
    try:
        found = s3.get_object(Bucket=bucket, Key=key(dag))
    except s3.exceptions.NoSuchKey:
        return History(), None
    try:
        content = json.loads(found["Body"].read())
    except ValueError:
        return History(), found["ETag"]
    return History.from_json(content, key(dag)), found["ETag"]
