"""Which alarms there are on an endpoint: each of them costs by the month."""

from __future__ import annotations

from typing import Any


def alarms_on(client: Any, endpoint: str, *, with_scaling: bool = False) -> list[str]:
    """The names of an endpoint's alarms: those on what serves and those of a release.

    Parameters: `client` boto3's of CloudWatch; `with_scaling` those of Application Auto Scaling too, which go with the
    scalable target.
    """
    prefixes = [f"{endpoint}-serving-", f"{endpoint}-release-"]
    if with_scaling:
        prefixes.append(f"TargetTracking-endpoint/{endpoint}/")
    pages = client.get_paginator("describe_alarms")
    return [
        each["AlarmName"]
        for prefix in prefixes
        for page in pages.paginate(AlarmNamePrefix=prefix)
        for each in page["MetricAlarms"]
    ]
