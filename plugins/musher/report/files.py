"""The report's two files, beside the parts of the run record."""

from __future__ import annotations

from typing import Any

from musher import record
from musher.report.page import render


def write_report(s3: Any, bucket: str, run: record.RunRecord) -> dict[str, str]:
    """Write `report.json` and `report.html` beside the parts; returns their S3 URIs as `{json, html}`."""
    folder = record.prefix(run.run)
    page = f"{folder}report.html"
    written = record.put(s3, bucket, f"{folder}report.json", run.to_json())
    s3.put_object(Bucket=bucket, Key=page, Body=render(run).encode(), ContentType="text/html; charset=utf-8")
    return {"json": written, "html": f"s3://{bucket}/{page}"}
