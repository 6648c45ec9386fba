"""Tags that are AWS's own: no service takes a key that begins with aws: from a caller.

Source: AWS general reference, "Tag naming limits and requirements"; where a service's own words are known, they are its
answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from local_aws.errors import AwsError
from local_aws.pipeline import checks

KEYS, VALUES = ("Key", "key", "TagKey"), ("Value", "value", "TagValue")
# These name tags to look for or to take away, or set none.
NOT_SETTING = re.compile(r"(Describe|List|Get|Head|Search|Filter|Untag|Remove|Delete|Simulate)")
DEEPEST = 4
SENTENCE = "aws: prefixed tag key names are not allowed for external use: {}."
SENTENCES = {
    "ec2": "Tag keys starting with 'aws:' are reserved for internal use",
    "s3": "System tags cannot be added/updated by requester",
}
# Where it is not the code of what a model does not allow.
CODES = {
    "iam": "InvalidInput", "ec2": "InvalidParameterValue", "s3": "InvalidTag", "sns": "InvalidParameter",
    "sqs": "InvalidParameterValue", "kms": "TagException", "ecr": "InvalidTagParameterException",
    "lambda": "InvalidParameterValueException",
}  # fmt: skip

Finder = Callable[[Any], Iterator[str]]
"""The keys of the tags in a value."""


def refusing(model: Any, service: str) -> Callable[[dict[str, Any]], None] | None:
    """What refuses the tags of an operation's requests, raising AwsError; None for one that sets none."""
    if model.input_shape is None or NOT_SETTING.match(model.name):
        return None
    find = _finder(model.input_shape, "", DEEPEST)
    if find is None:
        return None
    code = CODES.get(service) or checks.code(model.service_model, service)

    def refuse(params: dict[str, Any]) -> None:
        for key in find(params):
            if key.lower().startswith("aws:"):
                raise AwsError(code, SENTENCES.get(service, SENTENCE).format(key))

    return refuse


def _finder(shape: Any, name: str, depth: int) -> Finder | None:
    kind, of_tags = shape.type_name, "tag" in name.lower()
    if kind == "map" and of_tags and shape.key.type_name == shape.value.type_name == "string":
        return lambda value: (key for key in value if isinstance(key, str))
    if kind == "list":
        return _of_list(shape.member, name, depth, of_tags=of_tags)
    if kind != "structure" or depth <= 0:
        return None
    found = [(each, _finder(member, f"{name}.{each}", depth - 1)) for each, member in shape.members.items()]
    inside = [(each, find) for each, find in found if find is not None]
    if not inside:
        return None
    return lambda value: (
        key for each, find in inside if value.get(each) for key in find(value[each])
    )  # fmt: skip


def _of_list(member: Any, name: str, depth: int, *, of_tags: bool) -> Finder | None:
    if member.type_name != "structure":
        return None
    key = next((each for each in KEYS if each in member.members), None)
    if of_tags and key is not None and any(each in member.members for each in VALUES):
        return lambda value: (each[key] for each in value if isinstance(each.get(key), str))
    find = _finder(member, name, depth - 1)
    return None if find is None else lambda value: (found for each in value for found in find(each))
