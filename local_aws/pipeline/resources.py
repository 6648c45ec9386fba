"""The ARNs of what a call touches: what policies are asked about.

They are those that the request names. A call that names none, such as a list, touches "*".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from local_aws.pipeline.kinds import GLOBAL, IN_ARNS, KINDS

EVERYTHING = ("*",)
ARN_MEMBER = re.compile(r"(Arn|ARN|arn|Arns|ARNs)$")

Finder = Callable[[dict[str, Any], str, str], tuple[str, ...]]
"""(params, account, region) -> ARNs, without a repetition."""


def finder(model: Any, service: str) -> Finder:
    """What finds the ARNs in an operation's parameters."""
    if service == "s3":
        return _of_s3
    members = model.input_shape.members if model.input_shape is not None else {}
    named = [(member, kind.resource) for kind in KINDS.get(service, ()) for member in kind.members if member in members]
    arns = [name for name in members if ARN_MEMBER.search(name) and all(name != member for member, _ in named)]
    if not named and not arns:
        return lambda params, account, region: EVERYTHING
    start = f"arn:aws:{IN_ARNS.get(service, service)}:"

    def find(params: dict[str, Any], account: str, region: str) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for member, resource in named:
            given = params.get(member)
            if given is None:
                continue
            for each in (given,) if isinstance(given, str) else given:
                where = "" if service in GLOBAL else region
                found[each if each.startswith("arn:") else f"{start}{where}:{account}:{resource.format(each)}"] = None
        for member in arns:
            found.update(dict.fromkeys(_texts(params.get(member))))
        return tuple(found) or EVERYTHING

    return find


def _texts(value: Any) -> Iterable[str]:
    return (value,) if isinstance(value, str) else (each for each in value or () if isinstance(each, str))


def _of_s3(params: dict[str, Any], account: str, region: str) -> tuple[str, ...]:
    bucket = params.get("Bucket")
    if not bucket:
        return EVERYTHING
    key = params.get("Key")
    found = [f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}"]
    found += [f"arn:aws:s3:::{bucket}/{each['Key']}" for each in (params.get("Delete") or {}).get("Objects") or ()]
    source = params.get("CopySource")
    if isinstance(source, str):
        found.append(f"arn:aws:s3:::{source.lstrip('/').partition('?')[0]}")
    return tuple(found)
