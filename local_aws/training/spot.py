"""Managed Spot training: how AWS takes instances back, and what it charges.

Source: SageMaker developer guide, "Managed Spot Training in Amazon SageMaker AI" and "Managed Spot Training Lifecycle";
API reference, DescribeTrainingJob.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

NOTICE_SECONDS = 120
"""AWS seconds from the notice to the end of the instances (EC2 user guide, "Spot Instance interruption notices")."""

CAPACITY_SECONDS = 60
"""AWS seconds until there is Spot capacity again. AWS promises none: it may be at once, or never."""

PRICE_SHARE = 0.3
"""What Spot capacity costs, as a share of the on-demand price: AWS bills that share of the training seconds.

It stands for a discount that AWS decides by the hour, by instance type and by zone ("up to 90 %"); 0.3 is about what an
m5.xlarge was to be had for on EC2 in May 2026 (0.0585 of 0.192 USD an hour), and no promise for any other day.
"""


def seconds(
    transitions: Iterable[Mapping[str, Any]], started: dt.datetime, end: dt.datetime, *, managed_spot: bool
) -> tuple[float, float]:
    """(training, billable) seconds of one instance of a job between its start and `end`.

    The training time is that during which the job has instances: waiting for capacity after an interruption is none.
    Of the bill, `1 - billable / training` is the saving of managed Spot. However often a job is interrupted, the
    download of its data is charged once (SageMaker FAQs, "Managed Spot Training"); what else ran before an interruption
    is charged.
    """
    waited, downloads = 0.0, []
    for each in transitions:
        lasted = max(0.0, ((each.get("EndTime") or end) - max(each["StartTime"], started)).total_seconds())
        if each["Status"] in {"Starting", "Interrupted"}:
            waited += lasted
        elif each["Status"] == "Downloading":
            downloads.append(lasted)
    training = (end - started).total_seconds() - waited
    if not managed_spot:
        return training, training
    return training, PRICE_SHARE * (training - sum(downloads[1:]))
