"""How many bytes lie in the bucket, and so what they cost a month."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlparse

from musher.record import RunRecord


def size(s3: Any, bucket: str, prefix: str = "") -> int:
    """Bytes of every object under a prefix."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return sum(item["Size"] for page in pages for item in page.get("Contents", []))


def of_run(s3: Any, bucket: str, run: RunRecord) -> dict[str, int]:
    """Bytes of what a run leaves: its data set, and its models with their evaluations; what is not known is left out.

    The data set's folder is among the facts of the projection.
    """
    found = {}
    projected = run.projected_costs and run.projected_costs.training
    if projected and (name := projected.facts.get("dataset_name")):
        found["dataset"] = size(s3, bucket, f"dataset/{name}/")
    jobs = [*(run.training.jobs if run.training else ()), *([run.ec2_training] if run.ec2_training else ())]
    outputs = [urlparse(uri) for job in jobs for uri in (job.model_data, job.output_data) if uri]
    if outputs:
        found["models"] = sum(size(s3, uri.netloc, uri.path.lstrip("/")) for uri in outputs)
    return found
