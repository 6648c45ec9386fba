"""A query over log events: which fields an event has, and what an answer shows of it."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from local_aws.insights import language
from local_aws.insights.expressions import Moment, text

# CloudWatch Logs user guide, "Supported logs and discovered fields": what Lambda's REPORT lines say.
LAMBDA = re.compile(r"(START|END|REPORT) RequestId: (\S+)")
REPORT = {
    "@duration": re.compile(r"\tDuration: ([\d.]+) ms"), "@billedDuration": re.compile(r"Billed Duration: ([\d.]+) ms"),
    "@memorySize": re.compile(r"Memory Size: ([\d.]+) MB"), "@initDuration": re.compile(r"Init Duration: ([\d.]+) ms"),
    "@maxMemoryUsed": re.compile(r"Max Memory Used: ([\d.]+) MB"),
}  # fmt: skip
MEGABYTE = 1_000_000
SHOWN = ("@timestamp", "@message")


class Event(NamedTuple):
    """One event of a log."""

    identity: str
    at: int
    """Milliseconds since 1970."""
    ingested: int
    message: str
    stream: str
    group: str


def run(query: str, events: Iterable[Event], limit: int) -> list[dict[str, str]]:
    """The rows of a query's answer, each field as text. Raises AwsError("MalformedQueryException")."""
    commands = language.parse(query)
    rows = sorted(map(fields, events), key=lambda row: row["@timestamp"], reverse=True)
    for command in commands:
        rows = command(rows)
    return [_shown(row) for row in rows[:limit]]


def fields(event: Event) -> dict[str, Any]:
    """What a query can ask of an event: AWS's own fields, those of a message in JSON, and those of Lambda's lines."""
    found: dict[str, Any] = {
        "@timestamp": Moment(event.at), "@ingestionTime": Moment(event.ingested), "@message": event.message,
        "@logStream": event.stream, "@log": event.group, "@ptr": event.identity,
    }  # fmt: skip
    if event.message.startswith("{"):
        try:
            content = json.loads(event.message)
        except ValueError:
            content = {}
        if isinstance(content, dict):
            found = dict(_flat(content, "")) | found
    elif (match := LAMBDA.match(event.message)) is not None:
        found |= {"@type": match[1], "@requestId": match[2]}
        for name, pattern in REPORT.items() if match[1] == "REPORT" else ():
            if said := pattern.search(event.message):
                found[name] = float(said[1]) * (MEGABYTE if "emory" in name else 1)
    return found


def _flat(content: Any, path: str) -> Iterator[tuple[str, Any]]:
    """An object's values, those of nested ones with dots."""
    if isinstance(content, dict | list):
        parts = content.items() if isinstance(content, dict) else enumerate(content)
        for name, value in parts:
            yield from _flat(value, f"{path}.{name}" if path else str(name))
    elif content is not None:
        yield path, content


def _shown(row: dict[str, Any]) -> dict[str, str]:
    names = row.get(language.SHOWN) or SHOWN
    found = {name: _text(row[name]) for name in names if row.get(name) is not None}
    return found | ({"@ptr": row["@ptr"]} if "@ptr" in row else {})


def _text(value: Any) -> str:
    if isinstance(value, Moment):
        moment = dt.datetime.fromtimestamp(value / 1000, dt.UTC)
        return f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}"
    return text(value)
