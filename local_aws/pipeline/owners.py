"""Who answers an operation, by the kinds of resources that it touches: a resource has one owner.

What an operation touches is read from its model: the members of its request that name a resource, and the words of its
own name. An operation that touches a kind of ours is one of our own or is refused; moto is not asked about it, since it
would answer from records that have nothing to do with what lives here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection
from typing import NamedTuple

from local_aws.pipeline.directory import model
from local_aws.pipeline.kinds import KINDS, Kind

# What only filters by a resource of ours, and is about something that moto keeps.
FILTERS_ALONE = {
    "ListDataQualityJobDefinitions", "ListModelBiasJobDefinitions", "ListModelExplainabilityJobDefinitions",
    "ListModelQualityJobDefinitions", "ListMonitoringSchedules", "ListMonitoringExecutions",
}  # fmt: skip
OURS, MOTO, REFUSED, NOBODY = "ours", "moto", "refused", "not here"


class Row(NamedTuple):
    """One operation of the table."""

    service: str
    operation: str
    kinds: tuple[Kind, ...]
    owner: str


@functools.cache
def touched(service: str, operation: str) -> tuple[Kind, ...]:
    """The kinds of resources that an operation names, or is named after."""
    kinds = () if operation in FILTERS_ALONE else KINDS.get(service, ())
    shape = model(service).operation_model(operation).input_shape
    members = set(shape.members) if shape is not None else set()
    words = _words(service, operation)
    return tuple(kind for kind in kinds if members & set(kind.members) or words & set(kind.words))


def _words(service: str, operation: str) -> set[str]:
    """The kinds' words in an operation's name; a longer one hides those that are part of it."""
    known = sorted({word for kind in KINDS.get(service, ()) for word in kind.words}, key=len, reverse=True)
    found, left = set(), operation
    for word in known:
        left, count = re.subn(rf"{word}(?=s?(?:[A-Z]|$))|{word[:-1]}ies(?=[A-Z]|$)", " ", left)
        if count:
            found.add(word)
    return found


def touches_ours(service: str, operation: str) -> bool:
    """Whether an operation is about something that lives here."""
    return any(kind.ours for kind in touched(service, operation))


def table(service: str, own: Collection[str], moto: Collection[str]) -> list[Row]:
    """Every operation of a service that AWS has, by name.

    Parameters
    ----------
    own, moto
        The operations that we, and that moto implements.
    """
    rows = []
    for operation in sorted(model(service).operation_names):
        kinds = touched(service, operation)
        if operation in own:
            owner = OURS
        elif any(kind.ours for kind in kinds):
            owner = REFUSED
        else:
            owner = MOTO if operation in moto else NOBODY
        rows.append(Row(service, operation, kinds, owner))
    return rows
