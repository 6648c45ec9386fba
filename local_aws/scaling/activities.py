"""The activities of scalable targets: what was asked for, and what became of it.

Sources: Application Auto Scaling user guide, "Scaling activities"; SageMaker developer guide, "Query scaling
activities".
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from local_aws.errors import AwsError
from local_aws.scaling.kinds import Scalable, State
from local_aws.scaling.records import Target


def begin(kind: Scalable, target: Target, desired: int, cause: str) -> dict[str, Any]:
    """The record of a change that is about to be asked for."""
    return {
        "ActivityId": str(uuid.uuid4()), **target.identity,
        "Description": f"Setting desired {kind.capacity} to {desired}.", "Cause": cause,
        "StartTime": dt.datetime.now(dt.UTC), "StatusCode": "InProgress",
        "StatusMessage": f"Successfully set desired {kind.capacity} to {desired}. Waiting for change to be fulfilled "
        f"by {kind.namespace}.",
    }  # fmt: skip


def refused(kind: Scalable, activity: dict[str, Any], desired: int, error: AwsError) -> None:
    """The service did not take the change."""
    why = f"Failed to set desired {kind.capacity} to {desired}. Reason: {error.message} (Service: {kind.service}; "
    why += f"Status Code: {error.status}; Error Code: {error.code})"
    activity |= {"StatusCode": "Failed", "StatusMessage": why, "EndTime": dt.datetime.now(dt.UTC)}


def end(kind: Scalable, activity: dict[str, Any], state: State) -> None:
    """The change is over."""
    activity["EndTime"] = dt.datetime.now(dt.UTC)
    if state.failure:
        activity |= {"StatusCode": "Failed", "StatusMessage": state.failure}
    else:
        done = activity["StatusMessage"].split(".")[0]
        activity |= {
            "StatusCode": "Successful",
            "StatusMessage": f"{done}. Change successfully fulfilled by {kind.namespace}.",
        }
