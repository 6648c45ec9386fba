"""Delivery of an event to one target of a rule.

AWS: EventBridge user guide, "Event bus targets in Amazon EventBridge". Policies of topics, queues and functions are not
asked: nobody's are, here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from moto.backends import get_backend

from local_aws.services.base import RawRequest

if TYPE_CHECKING:
    from local_aws.aws import LocalAws

KINDS = "SNS topics, SQS queues, Lambda functions, log groups and other event buses"


def refusal(target: Mapping[str, Any]) -> str | None:
    """Why nobody here would deliver to a target; None when somebody does."""
    service, resource = _parts(target["Arn"])
    wanted = {"lambda": "function:", "logs": "log-group:", "events": "", "sns": "", "sqs": ""}
    if service in wanted and resource.startswith(wanted[service]) and not resource.startswith("api-destination/"):
        return None
    return f"The local AWS delivers events to {KINDS}; the target {target['Id']} is {target['Arn']}."


def kept_by_moto(target: Mapping[str, Any]) -> bool:
    """Whether a target is of EventBridge itself, another bus or an archive: moto delivers to those."""
    return _parts(target["Arn"])[0] == "events"


def deliver(aws: LocalAws, target: Mapping[str, Any], text: str) -> None:
    """Give a target what it gets of an event. Raises what moto or the service raises: it is not there."""
    arn = target["Arn"]
    service, resource = _parts(arn)
    _, _, _, region, account, _ = arn.split(":", 5)
    if service == "sns":
        get_backend("sns")[account][region].publish(text, arn=arn)
    elif service == "sqs":
        group = (target.get("SqsParameters") or {}).get("MessageGroupId")
        get_backend("sqs")[account][region].send_message(resource, text, group_id=group)
    elif service == "lambda":
        from local_aws.services.lambda_ import Lambda

        # As EventBridge calls functions: asynchronously, so that Lambda itself tries a failed call again.
        request = RawRequest({"FunctionName": arn}, {"x-amz-invocation-type": "Event"}, text.encode())
        aws.service(Lambda).invocations.invoke(request)
    else:
        group = resource.removeprefix("log-group:").removesuffix(":*")
        aws.logs.write(group, "events", [text])


def bury(target: Mapping[str, Any], rule_arn: str, event: Mapping[str, Any], error: Exception) -> bool:
    """Send an event that could not be delivered to the target's dead-letter queue; whether it has one that took it.

    AWS: EventBridge user guide, "Using dead-letter queues to process undelivered events".
    """
    arn = (target.get("DeadLetterConfig") or {}).get("Arn")
    if not arn:
        return False
    _, _, _, region, account, name = arn.split(":", 5)
    told = {
        "RULE_ARN": rule_arn,
        "TARGET_ARN": target["Arn"],
        "ERROR_CODE": getattr(error, "code", None) or type(error).__name__,
        "ERROR_MESSAGE": str(error) or type(error).__name__,
        "RETRY_ATTEMPTS": "0",
    }
    attributes = {key: {"DataType": "String", "StringValue": value} for key, value in told.items()}
    queues = get_backend("sqs")[account][region]
    if name not in queues.queues:
        return False
    body = json.dumps({key: value for key, value in event.items() if key != "ingestion-time"})
    queues.send_message(name, body, message_attributes=attributes)
    return True


def _parts(arn: str) -> tuple[str, str]:
    """(service, resource) of an ARN."""
    _, _, service, _, _, resource = (arn.split(":", 5) + [""] * 6)[:6]
    return service, resource
