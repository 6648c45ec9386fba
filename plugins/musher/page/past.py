"""Runs of the past, as pages show them: over time, as releases, and two beside each other."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from musher.page.aws import Aws
from musher.page.dags import DEPLOY, ROLL_BACK, TRAIN
from musher.record import History, PastRun
from musher.record.history import key
from musher.report.page import number, percent, setting, usd


@dataclass(frozen=True)
class Known:
    """A DAG's history, and the ETag by which S3 says whether it has changed."""

    history: History
    tag: str = ""


def reading(aws: Aws, dag: str) -> Callable[[Known | None], Known]:
    """What reads a DAG's history, given what it read before: an unchanged one is not sent again."""

    def read(before: Known | None) -> Known:
        s3, condition = aws.client("s3"), {"IfNoneMatch": before.tag} if before and before.tag else {}
        try:
            found = s3.get_object(Bucket=aws.environment.bucket, Key=key(dag), **condition)
        except s3.exceptions.NoSuchKey:
            return Known(History())
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 304:
                return before
            raise
        return Known(History.from_json(json.loads(found["Body"].read()), key(dag)), found["ETag"])

    return read


def releases(runs: Iterable[PastRun], most: int = 6) -> list[PastRun]:
    """What changed, or was to change, what serves; the newest first."""
    found = [each for each in runs if each.dag in (DEPLOY, ROLL_BACK)]
    return sorted(found, key=lambda each: each.at, reverse=True)[:most]


def since(runs: Iterable[PastRun], config: str) -> dt.datetime | None:
    """When what serves began to, as far as the history goes back: the newest change to that configuration."""
    changes = sorted((each for each in runs if each.config), key=lambda each: each.at)
    began = None
    for before, each in zip([None, *changes], changes, strict=False):
        if each.config == config and (before is None or before.config != config):
            began = each.at
    return dt.datetime.fromisoformat(began) if began else None


# What is drawn over the runs: of which DAG, the field, what it is called, and how it is written.
CHARTS = (
    (TRAIN, "accuracy", "Test accuracy", "percent"),
    (TRAIN, "cost_usd", "Cost of a run", "usd"),
    (TRAIN, "seconds", "Duration of a training run", "seconds"),
    (DEPLOY, "capacity_rps", "One instance takes", "rps"),
)


def charts(runs: Iterable[PastRun]) -> list[dict[str, Any]]:
    """The charts' data: `{title, unit, at, values, names}`, the oldest run first; one without a point is left out."""
    drawn, ordered = [], sorted(runs, key=lambda each: each.at)
    for dag, name, title, unit in CHARTS:
        points = [each for each in ordered if each.dag == dag and getattr(each, name) is not None]
        if points:
            drawn.append(
                {
                    "title": title,
                    "unit": unit,
                    "at": [int(dt.datetime.fromisoformat(each.at).timestamp()) for each in points],
                    "values": [getattr(each, name) for each in points],
                    "names": [each.run_id for each in points],
                }
            )
    return drawn


@dataclass(frozen=True)
class Line:
    """A line of two runs beside each other: `differs` where they do."""

    name: str
    values: tuple[str, str]
    differs: bool


def side_by_side(a: PastRun, b: PastRun) -> dict[str, list[Line]]:
    """What two runs were told, had and reached, by heading; of what they were told and tuned, all that either has."""
    return {
        "Told": _mappings(a.told, b.told),
        "Data": [
            _line("Version", a.dataset_version, b.dataset_version),
            *(_line(f"Pictures: {split}", a.images.get(split), b.images.get(split), number) for split in _keys(a, b)),
        ],
        "Best hyperparameters": _mappings(a.hyperparameters, b.hyperparameters, setting),
        "Result": [
            _line("How it ended", a.headline, b.headline),
            _line("Test accuracy", a.accuracy, b.accuracy, percent),
            _line("Test loss", a.loss, b.loss, number),
            _line("Test pictures", a.test_images, b.test_images, number),
            _line("Cost", a.cost_usd, b.cost_usd, usd),
            _line("Seconds", a.seconds, b.seconds, number),
            _line("Instances", a.instance_type, b.instance_type),
            _line("One instance takes, requests a second", a.capacity_rps, b.capacity_rps, number),
            _line("p99 under load, ms", a.p99_ms, b.p99_ms, number),
        ],
    }


def _keys(a: PastRun, b: PastRun) -> Sequence[str]:
    return list(dict.fromkeys([*a.images, *b.images]))


def _mappings(a: dict[str, Any], b: dict[str, Any], write: Callable[[Any], str] = str) -> list[Line]:
    return [_line(name, a.get(name), b.get(name), write) for name in sorted({*a, *b})]


def _line(name: str, a: Any, b: Any, write: Callable[[Any], str] = str) -> Line:
    return Line(name, tuple("–" if value is None else write(value) for value in (a, b)), a != b)
