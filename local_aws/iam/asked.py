"""What a call's actions are about: the ARNs of the resources that its request names, by the table's formats."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from local_aws.iam import table
from local_aws.pipeline.directory import operation as operation_model

VARIABLE = re.compile(r"\$\{(\w+)\}")
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


Sources = dict[str, tuple[str, ...]]
Finder = Callable[[Call], list[str]]
NO_KEYS: dict[str, tuple[str, ...]] = {}


def resources(call: Call, action: str) -> list[str]:
    """The ARNs of what a call's action is about; `*` for one that knows no resource, or of whose nothing is named."""
    return _finder(call.service, call.operation, action)(call)


def named(service: str, operation: str, action: str) -> set[str]:
    """The members by which an operation's requests name what an action is about, beside those that are ARNs."""
    return {
        member
        for _, sources, _ in _plans(service, operation, action)
        for members in sources.values()
        for member in members
    }


@functools.cache
def _plans(service: str, operation: str, action: str) -> list[tuple[table.Kind, Sources, re.Pattern[str]]]:
    """Each kind of resource, the members that what its ARNs leave open comes from, and what its ARNs look like."""
    of, shape = action.partition(":")[0], operation_model(service, operation).input_shape
    members = tuple(shape.members) if shape is not None else ()
    aliases = table.names()["members"].get(of, {})
    plans = []
    for kind in table.kinds(action):
        left = [name for name in VARIABLE.findall(kind.arn) if name not in {"Partition", "Region", "Account"}]
        sources = {name: _members(name, members, aliases.get(kind.name) if len(left) == 1 else None) for name in left}
        plans.append((kind, sources, re.compile(_glob(kind.arn))))
    return plans


@functools.cache
def _finder(service: str, operation: str, action: str) -> Finder:
    kinds, plans = table.kinds(action), _plans(service, operation, action)
    shape = operation_model(service, operation).input_shape
    members = tuple(shape.members) if shape is not None else ()
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


def _filled(arn: str, sources: Sources, call: Call) -> Iterator[str]:
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
