"""What becomes of each member of a request to an operation of ours: carried out, recorded or refused; never ignored.

`members.toml` says it for the operations of which not all is carried out. A member that stands there nowhere is
refused by name when it is given.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from local_aws.errors import AwsError
from local_aws.pipeline import checks

FILE = Path(__file__).with_name("members.toml")
CARRIED, ONLY, RECORDED, REFUSED = "carried out", "carried out with some values", "recorded", "refused"
LISTS = {"carried": CARRIED, "recorded": RECORDED, "refused": REFUSED}
# The code of a refusal, where it is not the one of what the model does not allow.
CODES = {"lambda": "InvalidParameterValueException", "ec2": "UnsupportedOperation"}


class Member(NamedTuple):
    """A member of an operation's request: its path, and what becomes of it."""

    path: str
    treatment: str
    values: tuple[Any, ...] = ()
    """With which it is taken, when it is not with any."""


@functools.cache
def declared() -> dict[str, dict[str, dict[str, Any]]]:
    """members.toml: service -> operation -> its lists."""
    return tomllib.loads(FILE.read_text())


def of(model: Any, service: str) -> list[Member]:
    """All members of an operation's request, nested ones with dots, in the model's order."""
    if model.input_shape is None:
        return []
    entry = _entry(model, service)
    found = []
    for path in _paths(model.input_shape, "", ()):
        treatment = CARRIED if entry is None else _treatment(entry, path)
        found.append(Member(path, treatment, tuple((entry or {}).get("only", {}).get(path, ()))))
    return found


def _entry(model: Any, service: str) -> dict[str, Any] | None:
    of_service = declared().get(service, {})
    return of_service.get(model.name) or of_service.get("*")


def _treatment(entry: dict[str, Any], path: str) -> str:
    """A structure is what the best of its members is."""
    if path in entry.get("only", {}):
        return ONLY
    if any(path == each or path.startswith(f"{each}.") for name in ("not", "refused") for each in entry.get(name, ())):
        return REFUSED
    found = []
    for name, treatment in LISTS.items():
        for each in entry.get(name, ()):
            whole = each.removesuffix(".*")
            if (
                each == "*"
                or path == whole
                or (each != whole and path.startswith(f"{whole}."))
                or whole.startswith(f"{path}.")
            ):
                found.append(treatment)
    if any(each.startswith(f"{path}.") for each in entry.get("only", {})):
        found.append(ONLY)
    return min(found, key=[CARRIED, ONLY, RECORDED, REFUSED].index, default=REFUSED)


def _paths(shape: Any, prefix: str, seen: tuple[str, ...]) -> Iterator[str]:
    if shape.type_name != "structure" or shape.name in seen:
        return
    for name, member in shape.members.items():
        yield f"{prefix}{name}"
        while member.type_name in {"list", "map"}:
            member = member.member if member.type_name == "list" else member.value
        yield from _paths(member, f"{prefix}{name}.", (*seen, shape.name))


def refusing(model: Any, service: str) -> Callable[[dict[str, Any]], None] | None:
    """What refuses the members of an operation of ours that it does not take, raising AwsError; None for one that takes
    all."""
    entry = _entry(model, service)
    if entry is None or model.input_shape is None:
        return None
    taken: dict[str, Any] = {}
    if any("*" in entry.get(name, ()) for name in LISTS):
        taken = _whole(model.input_shape, frozenset(entry.get("not", ())), "")
    else:
        for name in LISTS:
            for each in entry.get(name, ()):
                _plant(taken, each.removesuffix(".*"), True)
    for path, values in entry.get("only", {}).items():
        _plant(taken, path, tuple(values))
    code = CODES.get(service) or checks.code(model.service_model, service)

    def refuse(params: dict[str, Any]) -> None:
        for path, values in _refused(params, taken, ""):
            how = f"; it takes {', '.join(map(str, values))} alone" if values else ": leave it out"
            raise AwsError(code, f"{model.name}: the local AWS does not carry out {path}{how}.")

    return refuse


def _whole(shape: Any, without: frozenset[str], prefix: str) -> Any:
    """All members of a structure but some."""
    while shape.type_name in {"list", "map"}:
        shape = shape.member if shape.type_name == "list" else shape.value
    if shape.type_name != "structure" or not any(each.startswith(prefix) for each in without):
        return True
    return {
        name: _whole(member, without, f"{prefix}{name}.")
        for name, member in shape.members.items()
        if f"{prefix}{name}" not in without
    }


def _plant(tree: dict[str, Any], path: str, leaf: Any) -> None:
    *above, last = path.split(".")
    for name in above:
        tree = tree.setdefault(name, {})
    tree[last] = leaf


def _refused(value: Any, taken: Any, path: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    if taken is True or _is_nothing(value):
        return
    if isinstance(taken, tuple):
        if any(each not in taken for each in (value if isinstance(value, list) else [value])):
            yield path, taken
    elif taken is None:
        yield path, ()
    elif isinstance(value, list):
        for each in value:
            yield from _refused(each, taken, path)
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _refused(each, taken.get(name), f"{path}.{name}" if path else name)


def _is_nothing(value: Any) -> bool:
    """Whether a member says no more than one that is left out; numbers say something."""
    if isinstance(value, dict):
        return all(_is_nothing(each) for each in value.values())
    if isinstance(value, list):
        return all(_is_nothing(each) for each in value)
    return value is None or value is False or value in ("", b"")
