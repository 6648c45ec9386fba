"""Which alarms there are on an endpoint: each of them costs by the month."""

from __future__ import annotations

from typing import Any

from musher import names


def alarms_on(client: Any, endpoint: str, *, with_scaling: bool = False) -> list[str]:
    """The names of an endpoint's alarms: those on what serves and those of a release.

    Parameters: `client` boto3's of CloudWatch; `with_scaling` those of Application Auto Scaling too, which go with the
    scalable target.
    """
    prefixes = [names.serving_alarms(endpoint), names.release_alarms(endpoint)]
    if with_scaling:
        prefixes.append(names.scaling_alarms(endpoint))
    pages = client.get_paginator("describe_alarms")
    return [
        each["AlarmName"]
        for prefix in prefixes
        for page in pages.paginate(AlarmNamePrefix=prefix)
        for each in page["MetricAlarms"]
    ]
