"""The page of what costs money now, beside its JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from musher.report.page import templates

PREFIX = "runs/running-costs/"


def render(record: Mapping[str, Any]) -> str:
    """One HTML page, in the style of a run's report."""
    return templates().get_template("running_costs.html.jinja").render(record=record)


def write(s3: Any, bucket: str, record: Mapping[str, Any]) -> dict[str, str]:
    """Write a day's JSON and HTML; returns their S3 URIs as `{json, html}`. A later report of that day replaces it."""
    day = str(record["at"])[:10]
    bodies = {
        "json": (json.dumps(record, indent=1, ensure_ascii=False).encode(), "application/json"),
        "html": (render(record).encode(), "text/html; charset=utf-8"),
    }
    for kind, (body, content_type) in bodies.items():
        s3.put_object(Bucket=bucket, Key=f"{PREFIX}{day}.{kind}", Body=body, ContentType=content_type)
    return {kind: f"s3://{bucket}/{PREFIX}{day}.{kind}" for kind in bodies}
