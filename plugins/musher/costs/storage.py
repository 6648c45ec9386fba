"""How many bytes lie in the bucket, and so what they cost a month."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlparse


def size(s3: Any, bucket: str, prefix: str = "") -> int:
    """Bytes of every object under a prefix."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return sum(item["Size"] for page in pages for item in page.get("Contents", []))


def of_run(s3: Any, bucket: str, parts: Mapping[str, Any]) -> dict[str, int]:
    """Bytes of what a run leaves: its data set, and its models with their evaluations; what is not known is left out.

    Parameters: `parts` of the run's record; the data set's folder is among the facts of the projection.
    """
    found = {}
    facts = ((parts.get("projected_costs") or {}).get("training") or {}).get("facts") or {}
    if name := facts.get("dataset_name"):
        found["dataset"] = size(s3, bucket, f"dataset/{name}/")
    jobs = [*((parts.get("training") or {}).get("jobs") or []), parts.get("ec2_training") or {}]
    outputs = [urlparse(job[name]) for job in jobs for name in ("model_data", "output_data") if job.get(name)]
    if outputs:
        found["models"] = sum(size(s3, uri.netloc, uri.path.lstrip("/")) for uri in outputs)
    return found
