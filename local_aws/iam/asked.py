"""What a call asks for: each action with the resource that it is about.

An operation needs the actions of its table, on what its request names; what it names a role, tags or an object in S3
for, it needs more for: `iam:PassRole`, the service's action for tags, `s3:GetObject`. All have to be allowed. Source:
Service Authorization Reference, with its dependent actions; the rest is named where it stands.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from local_aws.iam import table
from local_aws.pipeline.directory import operation as operation_model

VARIABLE = re.compile(r"\$\{(\w+)\}")
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
TAG_MEMBERS = ("Tags", "tags", "TagList", "TagSpecifications")
# The beginnings of EC2's ids.
EC2_IDS = {
    "i": "instance", "vol": "volume", "sg": "security-group", "ami": "image", "subnet": "subnet", "vpc": "vpc",
    "eni": "network-interface", "sir": "spot-instances-request", "snap": "snapshot", "rtb": "route-table",
    "igw": "internet-gateway", "lt": "launch-template", "eipalloc": "elastic-ip", "nat": "natgateway",
}  # fmt: skip


class Call(NamedTuple):
    """What has to be known of a call."""

    service: str
    operation: str
    params: Mapping[str, Any]
    account: str
    region: str


class Question(NamedTuple):
    """One action on one resource, with the condition keys that are this question's alone."""

    action: str
    resource: str
    keys: Mapping[str, tuple[str, ...]]


Finder = Callable[[Call], list[str]]
NO_KEYS: dict[str, tuple[str, ...]] = {}


def questions(call: Call) -> list[Question]:
    """All that a call needs; [] for one that needs nothing. Raises KeyError for one that no table maps."""
    from local_aws.iam import special

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


def resources(call: Call, action: str) -> list[str]:
    """The ARNs of what a call's action is about; `*` for one that knows no resource, or of whose nothing is named."""
    return _finder(call.service, call.operation, action)(call)


@functools.cache
def _finder(service: str, operation: str, action: str) -> Finder:
    of, kinds = action.partition(":")[0], table.kinds(action)
    shape = operation_model(service, operation).input_shape
    members = tuple(shape.members) if shape is not None else ()
    aliases = table.names()["members"].get(of, {})
    plans = []
    for kind in kinds:
        named = [name for name in VARIABLE.findall(kind.arn) if name not in {"Partition", "Region", "Account"}]
        sources = {name: _members(name, members, aliases.get(kind.name) if len(named) == 1 else None) for name in named}
        plans.append((kind, sources, re.compile(_glob(kind.arn))))
    texts = tuple(
        name for name in members
        if shape.members[name].type_name == "string"
        or (shape.members[name].type_name == "list" and shape.members[name].member.type_name == "string")
    )  # fmt: skip

    def find(call: Call) -> list[str]:
        found: dict[str, None] = {}
        for name in texts:
            for value in _texts(call.params.get(name)):
                if value.startswith("arn:") and any(glob.fullmatch(value) for _, _, glob in plans):
                    found[value] = None
        for kind, sources, _ in plans:
            found.update(dict.fromkeys(_filled(kind.arn, sources, call)))
        if not found:
            required = [kind for kind in kinds if kind.required]
            found = dict.fromkeys(
                VARIABLE.sub("*", _placed(kind.arn, call)) for kind in (required if len(required) == 1 else ())
            )
        return list(found) or ["*"]

    return find


def _members(variable: str, members: tuple[str, ...], aliases: list[str] | None) -> tuple[str, ...]:
    """The members of a request that can be what a variable of an ARN stands for."""
    if aliases is not None:
        return tuple(each for each in members if each in aliases)
    wanted = re.sub(r"(WithPath|WithoutLeadingSlash)$", "", variable).lower()
    return tuple(each for each in members if each.lower() in {wanted, f"{wanted}s"})


def _filled(arn: str, sources: dict[str, tuple[str, ...]], call: Call) -> Iterator[str]:
    """ARNs of one kind, by the names that a request gives; a star for what it leaves open beside them."""
    values = {
        variable: [each for name in names for each in _texts(call.params.get(name)) if not each.startswith("arn:")]
        for variable, names in sources.items()
    }
    if not any(values.values()):
        return
    many = max(len(each) for each in values.values())
    for number in range(many):
        text = _placed(arn, call)
        for variable, found in values.items():
            value = found[min(number, len(found) - 1)] if found else "*"
            if "://" in value:
                value = value.rstrip("/").rpartition("/")[2]  # a queue by its URL
            text = text.replace(f"${{{variable}}}", value)
        yield text


def _placed(arn: str, call: Call) -> str:
    return arn.replace("${Partition}", "aws").replace("${Region}", call.region).replace("${Account}", call.account)


def _glob(arn: str) -> str:
    return "".join(".*" if number % 2 else re.escape(part) for number, part in enumerate(VARIABLE.split(arn)))


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if value else []
    return [each for each in value if isinstance(each, str) and each] if isinstance(value, list) else []


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
    keys = {"ec2:createaction": (call.operation,)} if call.service == "ec2" else NO_KEYS
    return [Question(action, resource, keys) for resource in sorted(mine)[:1] or ["*"]]
