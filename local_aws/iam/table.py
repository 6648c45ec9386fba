"""Which actions an operation needs, on which kinds of resources, and which condition keys there are.

`actions.json` is made from AWS's Service Authorization Reference (tools/iam/table.py), `names.toml` is written by hand.
"""

from __future__ import annotations

import functools
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent
# IAM user guide, "AWS global condition context keys".
GLOBAL_KEYS = (
    "aws:AssumedRoot", "aws:CalledVia", "aws:CalledViaFirst", "aws:CalledViaLast", "aws:ChatbotSourceArn",
    "aws:CurrentTime", "aws:Ec2InstanceSourcePrivateIPv4", "aws:Ec2InstanceSourceVpc", "aws:EpochTime",
    "aws:FederatedProvider", "aws:IsMcpServiceAction", "aws:MultiFactorAuthAge", "aws:MultiFactorAuthPresent",
    "aws:PrincipalAccount", "aws:PrincipalArn", "aws:PrincipalIsAWSService", "aws:PrincipalOrgID",
    "aws:PrincipalOrgPaths", "aws:PrincipalServiceName", "aws:PrincipalServiceNamesList", "aws:PrincipalTag/${TagKey}",
    "aws:PrincipalType", "aws:referer", "aws:RequestedRegion", "aws:RequestTag/${TagKey}", "aws:ResourceAccount",
    "aws:ResourceOrgID", "aws:ResourceOrgPaths", "aws:ResourceTag/${TagKey}", "aws:SecureTransport",
    "aws:SourceAccount", "aws:SourceArn", "aws:SourceIdentity", "aws:SourceIp", "aws:SourceOrgID",
    "aws:SourceOrgPaths", "aws:SourceVpc", "aws:SourceVpcArn", "aws:SourceVpce", "aws:TagKeys", "aws:TokenIssueTime",
    "aws:UserAgent", "aws:userid", "aws:username", "aws:ViaAWSMCPService", "aws:ViaAWSService", "aws:VpceAccount",
    "aws:VpceOrgID", "aws:VpceOrgPaths", "aws:VpcSourceIp",
)  # fmt: skip
ANY = "*"
# AWS CloudTrail user guide, "Logging data events": these are no management events.
DATA = {
    "lambda": ("InvokeFunction", "InvokeFunctionUrl"), "sagemaker": ("InvokeEndpoint", "InvokeEndpointAsync"),
    "sns": ("Publish",), "sqs": ("SendMessage", "ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility"),
    "cloudwatch": ("PutMetricData", "GetMetricData", "GetMetricStatistics", "ListMetrics"),
    "logs": ("PutLogEvents", "GetLogEvents", "FilterLogEvents"),
    "dynamodb": ("GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "Scan", "BatchGetItem", "BatchWriteItem"),
}  # fmt: skip


class Kind(NamedTuple):
    """A kind of resource that an action is about."""

    name: str
    required: bool
    arn: str
    """With `${...}` for what a request names, partition, region and account included."""


@functools.cache
def _made() -> dict[str, Any]:
    return json.loads((FOLDER / "actions.json").read_text())


@functools.cache
def names() -> dict[str, Any]:
    """names.toml."""
    return tomllib.loads((FOLDER / "names.toml").read_text())


def prefix(service: str) -> str | None:
    """What comes before the colon in the actions of a botocore service; None for one that no table has."""
    return _made()["services"].get(service)


@functools.cache
def actions(service: str, operation: str) -> tuple[str, ...]:
    """The actions that an operation needs; () for one that no table maps."""
    of = prefix(service)
    if of is None:
        return ()
    by_method = _made()["methods"].get(service, {}).get(operation)
    if by_method:
        return (by_method,)
    found = names().get(service, {}).get(operation) or [f"{of}:{operation}"]
    exact = tuple(_exact(each) for each in found)
    return tuple(each for each in exact if each) if all(exact) else ()


def services() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each service, by what comes before the colon in its actions, with their names."""
    for service, names in sorted(_made()["actions"].items()):
        yield service, tuple(sorted(names))


def about_data(action: str) -> bool:
    """Whether an action is about what a resource holds, and not about the resource: an object, a message, a picture."""
    of, _, name = action.partition(":")
    return name in DATA.get(of, ()) or (of == "s3" and any(each.name == "object" for each in kinds(action)))


def _exact(action: str) -> str | None:
    """An action as AWS writes it; None for one that the table does not have."""
    of, _, name = action.partition(":")
    known = _made()["actions"].get(of, {})
    if name in known:
        return action
    found = next((each for each in known if each.lower() == name.lower()), None)
    return found and f"{of}:{found}"


@functools.cache
def kinds(action: str) -> tuple[Kind, ...]:
    """The kinds of resources that an action is about; () for one that knows none."""
    of, _, name = action.partition(":")
    found = _made()["actions"].get(of, {}).get(name, ())
    formats = _made()["resources"].get(of, {})
    if ANY in found:
        return tuple(Kind(each, False, arn) for each, arn in formats.items())
    return tuple(Kind(each.rstrip("!"), each.endswith("!"), formats[each.rstrip("!")]) for each in found)


@functools.cache
def _keys() -> tuple[frozenset[str], tuple[str, ...]]:
    """(keys, beginnings of keys that end in a name of the customer's), in lower case."""
    every = [*GLOBAL_KEYS, *(key for keys in _made()["keys"].values() for key in keys)]
    whole, begun = set(), set()
    for key in every:
        start = re.split(r"\$\{|<", key.lower(), maxsplit=1)[0]
        (whole if start == key.lower() else begun).add(start)
    return frozenset(whole), tuple(begun)


def knows_key(key: str) -> bool:
    """Whether AWS has a condition key."""
    whole, begun = _keys()
    lowered = key.lower()
    return lowered in whole or lowered.startswith(begun)
