"""The report of a run, as it stands in the bucket: the finished page, or what is known so far."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from musher import record
from musher.page.aws import Aws
from musher.page.runs import Shown
from musher.report import running_costs
from musher.report.page import render

RUNNING_COSTS = "report_running_costs"
# What a run leaves that no report shows.
BESIDE = {record.RollBack.NAME: record.RollBack}
_FOLDER = re.compile(r"[A-Za-z0-9.-]+")


@dataclass(frozen=True)
class Report:
    """`html` the page, empty where nothing is known yet; `version` changes with it; `notes` sentences about what no
    report shows. `finished` where the run has written its report, and nothing was added since; `superseded` where
    something was.

    `parts` are those that were read, with their tags: what has not changed is not read again.
    """

    html: str = ""
    version: str = ""
    finished: bool = False
    superseded: bool = False
    notes: tuple[str, ...] = ()
    parts: Mapping[str, tuple[str, record.Part | str]] = field(default_factory=dict)


def reading(aws: Aws, run: Shown) -> Callable[[Report | None], Report]:
    """What reads a run's report, given the one that it read before."""
    if run.dag_id == RUNNING_COSTS and run.since is not None:
        return lambda before: _day(aws, f"{running_costs.PREFIX}{run.since:%Y-%m-%d}.html", before)
    return lambda before: _of(aws, run, before or Report())


def _of(aws: Aws, run: Shown, before: Report) -> Report:
    if not _FOLDER.fullmatch(run.key):
        return Report()
    env, s3, folder = aws.environment, aws.client("s3"), record.prefix(run.key)
    there = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=env.bucket, Prefix=folder, Delimiter="/"):
        there |= {each["Key"].removeprefix(folder): each for each in page.get("Contents", ())}
    known = {name: f"{name}.json" for name in [*record.PARTS, *BESIDE] if f"{name}.json" in there}
    newest = max((there[file]["LastModified"] for file in known.values()), default=None)
    html = there.get("report.html")
    tags = sorted((name, each["ETag"]) for name, each in there.items())
    version = hashlib.sha256(repr(tags).encode()).hexdigest()[:16]
    if version == before.version:
        return before
    if html and (newest is None or html["LastModified"] >= newest):
        body = s3.get_object(Bucket=env.bucket, Key=f"{folder}report.html")["Body"].read()
        return Report(body.decode("utf-8", "replace"), version, finished=True)
    parts = {
        name: before.parts[name]
        if name in before.parts and before.parts[name][0] == there[file]["ETag"]
        else (there[file]["ETag"], _read(s3, env.bucket, run.key, name))
        for name, file in known.items()
    }
    notes = tuple(part.sentence for _, part in parts.values() if isinstance(part, record.RollBack))
    shown = {name: part for name, (_, part) in parts.items() if isinstance(part, record.Part) and name in record.PARTS}
    unreadable = {name: part for name, (_, part) in parts.items() if isinstance(part, str) and part}
    if not shown and not unreadable:
        return Report(version=version, notes=notes, parts=parts)
    content = record.RunRecord(
        run=run.key,
        environment=env.kind,
        created_at=newest.isoformat(timespec="seconds"),
        dag=run.dag_id,
        run_id=run.run_id,
        region=env.region,
        unreadable=unreadable,
        **shown,
    )
    return Report(render(content, unfinished=True), version, superseded=html is not None, notes=notes, parts=parts)


def _read(s3: Any, bucket: str, key: str, name: str) -> record.Part | str:
    """A part, or why it cannot be read."""
    try:
        part = record.read(s3, bucket, key, record.PARTS.get(name) or BESIDE[name])
    except record.RecordError as error:
        return str(error)
    return part if part is not None else ""  # taken back


def _day(aws: Aws, key: str, before: Report | None) -> Report:
    s3 = aws.client("s3")
    try:
        found = s3.get_object(Bucket=aws.environment.bucket, Key=key)
    except s3.exceptions.NoSuchKey:
        return Report()
    return Report(found["Body"].read().decode("utf-8", "replace"), found["ETag"].strip('"'), finished=True)
