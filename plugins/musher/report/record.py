"""Joins what each task of a run wrote into one record.

Each task writes `runs/<run>/<part>.json` as soon as it knows something, so that a run that ends early still has a
report. A part that is not there was not run; nothing here or in the page treats that as an error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

PARTS = (
    "dataset",
    "tuning",
    "training",
    "ec2_training",
    "model",
    "evaluation",
    "endpoint",
    "autoscaling",
    "lambda",
    "load_test",
    "verdict",
    "projected_costs",
    "costs",
)


def prefix(run: str) -> str:
    """Where a run's parts and its report are: `runs/<run>/`."""
    return f"runs/{run}/"


def write_part(s3: Any, bucket: str, run: str, part: str, content: Any) -> str:
    """Write one part of a run's record; returns its S3 URI.

    Raises ValueError for a part no report knows of: a misspelt one would silently be missing from it.
    """
    if part not in PARTS:
        raise ValueError(f"part is {part!r}; a run record has the parts {', '.join(PARTS)}")
    return _put(s3, bucket, f"{prefix(run)}{part}.json", _json(content), "application/json")


def read_parts(s3: Any, bucket: str, run: str, names: Sequence[str] = PARTS) -> dict[str, Any]:
    """The parts of a run's record that have been written so far, by name; all of them, or those of `names`."""
    parts = {}
    for part in names:
        try:
            parts[part] = json.loads(s3.get_object(Bucket=bucket, Key=f"{prefix(run)}{part}.json")["Body"].read())
        except s3.exceptions.NoSuchKey:
            continue
    return parts


def runs_with(s3: Any, bucket: str, part: str) -> list[str]:
    """The runs whose record has a part, the newest one first."""
    found = []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="runs/"):
        for item in page.get("Contents", ()):
            folder, _, name = item["Key"].rpartition("/")
            if name == f"{part}.json":
                found.append((item["LastModified"], folder.removeprefix("runs/")))
    return [run for _, run in sorted(found, reverse=True)]


def join(
    parts: Mapping[str, Any],
    *,
    run: str,
    environment: str,
    created_at: datetime | None = None,
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The run record: every part (None where it was not run), and which run it was.

    Parameters
    ----------
    parts: part name to content; names that are no part are ignored.
    environment: `aws` or `local`; a local report says what is simulated.
    about: further facts about the run at the top of the report, e.g. `minute_seconds`, `dag`, `region`.
    """
    record: dict[str, Any] = {
        "run": run,
        "environment": environment,
        "created_at": (created_at or datetime.now(UTC)).isoformat(timespec="seconds"),
        **dict(about or {}),
    }
    record |= {part: parts.get(part) for part in PARTS}
    record["training"] = _training(parts.get("training"))
    return record


def write_report(s3: Any, bucket: str, record: Mapping[str, Any]) -> dict[str, str]:
    """Write `report.json` and `report.html` beside the parts; returns their S3 URIs as `{json, html}`."""
    from musher.report.page import render

    base = prefix(record["run"])
    return {
        "json": _put(s3, bucket, f"{base}report.json", _json(record), "application/json"),
        "html": _put(s3, bucket, f"{base}report.html", render(record).encode(), "text/html; charset=utf-8"),
    }


def _training(part: Any) -> dict[str, Any] | None:
    """`{jobs, speed_up, scaling_efficiency}`; the last two computed where the part does not say.

    Speed-up is the wall time on one instance divided by that on several; efficiency is the speed-up divided by their
    number.
    """
    if not part:
        return None
    given = {"jobs": part} if isinstance(part, Sequence) else dict(part)
    jobs = [job for job in given.get("jobs") or [] if isinstance(job, Mapping)]
    by_instances = sorted(jobs, key=lambda job: job.get("instances") or 0)
    found: dict[str, Any] = {"speed_up": None, "scaling_efficiency": None}
    if len(by_instances) > 1 and by_instances[0].get("instances") == 1:
        one, several = by_instances[0], by_instances[-1]
        if one.get("wall_seconds") and several.get("wall_seconds"):
            found["speed_up"] = one["wall_seconds"] / several["wall_seconds"]
            found["scaling_efficiency"] = found["speed_up"] / several["instances"]
    return found | {name: value for name, value in given.items() if value is not None} | {"jobs": jobs}


def _put(s3: Any, bucket: str, key: str, body: bytes, content_type: str) -> str:
    s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type)
    return f"s3://{bucket}/{key}"


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False).encode()
