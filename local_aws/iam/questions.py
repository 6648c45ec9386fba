"""All that a call needs: each action with the resource that it is about.

An operation needs the actions of its table, on what its request names; where that names a role, tags or an object in
S3, it needs more: `iam:PassRole`, the service's action for tags, `s3:GetObject`. All have to be allowed. Source:
Service Authorization Reference, with its dependent actions; the rest is named where it stands.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from local_aws.iam import special, table
from local_aws.iam.asked import NO_KEYS, Call, Question, named, resources
from local_aws.pipeline.directory import operation as operation_model

ROLE = re.compile(r"arn:aws[\w-]*:iam::\d{12}:role/")
# Operations that need no permission (STS API reference; they answer about the caller alone).
FREE = {("sts", "GetCallerIdentity"), ("sts", "GetSessionToken"), ("sts", "GetAccessKeyInfo")}
# The action by which a request's tags are set, and what it is about when it is not what the request itself is about.
TAGGING = {
    "sagemaker": "sagemaker:AddTags", "lambda": "lambda:TagResource", "cloudwatch": "cloudwatch:TagResource",
    "logs": "logs:TagResource", "sns": "sns:TagResource", "events": "events:TagResource", "ecr": "ecr:TagResource",
    "sqs": "sqs:TagQueue", "ssm": "ssm:AddTagsToResource", "secretsmanager": "secretsmanager:TagResource",
    "application-autoscaling": "application-autoscaling:TagResource", "ec2": "ec2:CreateTags",
}  # fmt: skip
# Members that alone say what a call of an operation asks for, although it has questions of its own.
NAMED = {("lambda", "Invoke"): ("FunctionName", "Qualifier")}
TAG_MEMBERS = ("Tags", "tags", "TagList", "TagSpecifications")


def questions(call: Call) -> list[Question]:
    """All that a call needs; [] for one that needs nothing. Raises KeyError for one that no table maps."""
    names = _names(call.service, call.operation)
    if names is None:
        return _questions(call)
    given = []
    for item in call.params.items():
        name, value = item
        if isinstance(value, list):
            return _questions(call)
        if name in names or (isinstance(value, str) and value.startswith("arn:")):
            given.append(item)
    return _by_names(call.service, call.operation, tuple(given), call.account, call.region)


@functools.cache
def _names(service: str, operation: str) -> tuple[str, ...] | None:
    """The members that alone say what a call asks for, beside ARNs; None for an operation of which others do, too."""
    if (service, operation) in NAMED:
        return NAMED[service, operation]
    if {(service, operation), (service, "*")} & special.QUESTIONS.keys() or (service, operation) in FREE:
        return None
    shape = operation_model(service, operation).input_shape
    if shape is None:
        return ()
    nested = any(member.type_name in {"structure", "map"} for member in shape.members.values())
    lists = any(member.type_name == "list" and member.member.type_name != "string" for member in shape.members.values())
    if nested or lists or set(TAG_MEMBERS) & set(shape.members):
        return None
    return tuple({name for each in table.actions(service, operation) for name in named(service, operation, each)})


@functools.lru_cache(maxsize=4096)
def _by_names(
    service: str, operation: str, given: tuple[tuple[str, Any], ...], account: str, region: str
) -> list[Question]:
    return _questions(Call(service, operation, dict(given), account, region))


def _questions(call: Call) -> list[Question]:
    if (call.service, call.operation) in FREE:
        return []
    needed = table.actions(call.service, call.operation)
    if not needed:
        raise KeyError(f"{call.service}.{call.operation}")
    own = special.QUESTIONS.get((call.service, call.operation)) or special.QUESTIONS.get((call.service, "*"))
    if own is not None:
        found = list(own(call, needed))
    else:
        found = [Question(each, arn, NO_KEYS) for each in needed for arn in resources(call, each)]
    found += special.further(call)
    found += _passed(call)
    found += _tagged(call, found)
    return list({(each.action, each.resource): each for each in found}.values())


def _passed(call: Call) -> Iterator[Question]:
    """`iam:PassRole` for the roles that a request hands to the service (IAM user guide, "Grant a user permissions to
    pass a role to an AWS service")."""
    if call.service in {"iam", "sts", "s3"}:
        return
    for role in roles(call.params):
        keys = {"iam:passedtoservice": (f"{table.prefix(call.service)}.amazonaws.com",)}
        yield Question("iam:PassRole", role, keys)


def roles(value: Any, name: str = "") -> Iterator[str]:
    """The ARNs of roles in a request's members, nested ones, too."""
    if isinstance(value, str):
        if (name == "role" or name.endswith("rolearn")) and ROLE.match(value):
            yield value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            if isinstance(each, str | Mapping | list):
                yield from roles(each, key.lower())
    elif isinstance(value, list):
        for each in value:
            yield from roles(each, name)


def _tagged(call: Call, found: list[Question]) -> list[Question]:
    action = TAGGING.get(call.service)
    if action is None or "Tag" in call.operation or call.operation == "RunInstances":
        return []
    if not any(call.params.get(name) for name in TAG_MEMBERS):
        return []
    of = action.partition(":")[0] + ":"
    mine = {each.resource for each in found if each.action.startswith(of) and each.resource != "*"}
    # CreateEndpoint is about its configuration, too: tags are set on what is made.
    kind = re.sub(r"(?<!^)(?=[A-Z])", "-", call.operation.removeprefix("Create")).lower()
    mine = {each for each in mine if f":{kind}/" in each} or mine
    keys = {"ec2:createaction": (call.operation,)} if call.service == "ec2" else NO_KEYS
    return [Question(action, resource, keys) for resource in sorted(mine)[:1] or ["*"]]
