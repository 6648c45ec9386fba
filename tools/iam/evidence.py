"""What the proof of least privilege goes by: infra/proof/ has what roles call, and what they must not be able to do.

calls.json      what the roles called in a real chain in the local AWS (`tools/iam/record.py`)
by_aws.toml     what AWS's services call in a role's name, or ask of a caller beside the call, each with AWS's page
forbidden.toml  what each role must not be able to do
"""

from __future__ import annotations

import itertools
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tools.cloudformation import FOLDER as INFRA
from tools.iam.templates import ACCOUNT, PROJECT, REGION

FOLDER = INFRA / "proof"
RECORDED, DOCUMENTED, FORBIDDEN = "recorded", "documented", "forbidden"
MAIN = "musher.yaml"
ROLES = ("airflow", "training", "endpoint", "lambda", "lambda-rehearsal", "ec2", "deploy")
FIELDS = {"by_aws": {"actions", "resources", "keys", "page", "why", "only_listed"},
          "forbidden": {"what", "actions", "resources", "keys"}}  # fmt: skip
NAMES = {"account": ACCOUNT, "region": REGION, "project": PROJECT, "bucket": f"{PROJECT}-{ACCOUNT}",
         "here": f"{REGION}:{ACCOUNT}"}  # fmt: skip


class EvidenceError(Exception):
    """What is wrong with one of the files, as one sentence."""


@dataclass(frozen=True)
class Call:
    """One action on one resource by a role."""

    stack: str
    """The template whose policies have to allow it, or, of what is forbidden, must not; empty for all of them."""
    role: str
    action: str
    resource: str
    keys: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Condition keys, in lower case."""
    source: str = RECORDED
    why: str = ""
    page: str = ""

    @property
    def context(self) -> dict[str, tuple[str, ...]]:
        return dict(self.keys)

    def __str__(self) -> str:
        said = ", ".join(f"{key} {' '.join(values)}" for key, values in self.keys)
        return f"{self.action} on {self.resource}{f' ({said})' if said else ''}"


def recorded() -> list[Call]:
    """calls.json. Raises EvidenceError."""
    file = FOLDER / "calls.json"
    if not file.exists():
        raise EvidenceError(f"{file} is missing: `python -m tools.iam.chain FOLDER` and `python -m tools.iam.record`.")
    return list(of_roles(json.loads(file.read_text())))


def of_roles(found: Mapping[str, list[Mapping[str, Any]]]) -> Iterator[Call]:
    """Calls as the recording and a local AWS's journal have them, of this project's roles, allowed ones only."""
    for role, calls in found.items():
        name = role.rpartition(":role/")[2] or role
        if not name.startswith(f"{PROJECT}-"):
            continue
        for each in calls:
            if each.get("allowed", True):
                yield Call(MAIN, name, each["action"], each["resource"], _keys(each.get("keys", {})))


def by_aws() -> tuple[list[Call], dict[tuple[str, str], set[str]]]:
    """by_aws.toml: the calls to simulate, and the actions that are listed only, by (stack, role).

    Raises EvidenceError.
    """
    calls, listed = [], {}
    for named, role, entry in _entries("by_aws"):
        stack = named or MAIN
        if not str(entry.get("page", "")).startswith("https://docs.aws.amazon.com/"):
            raise EvidenceError(f"by_aws.toml: an entry of {role} for {entry['actions'][0]} names no page of AWS's.")
        if entry.get("only_listed"):
            listed.setdefault((stack, role), set()).update(entry["actions"])
            continue
        calls += _calls(stack, role, entry, DOCUMENTED, entry.get("why", ""))
    return calls, listed


def forbidden() -> list[Call]:
    """forbidden.toml, with what is forbidden to everybody for each role. Raises EvidenceError."""
    return [
        each
        for stack, role, entry in _entries("forbidden")
        for each in _calls(stack, role, entry, FORBIDDEN, entry["what"])
    ]


def tries(role: str) -> dict[str, list[Call]]:
    """What a role must not be able to do: each with the calls that would be it."""
    found: dict[str, list[Call]] = {}
    for each in forbidden():
        if each.role == role:
            found.setdefault(each.why, []).append(each)
    return found


def _entries(name: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(stack, role, entry) of a file whose tables are `<role>` or `<stack>.<role>`, or groups of roles."""
    with (FOLDER / f"{name}.toml").open("rb") as file:
        content = tomllib.load(file)
    groups: dict[str, list[str]] = content.pop("groups", {})
    for title, entries in content.items():
        stack, dot, kind = title.rpartition(".")
        for entry in entries:
            unknown = sorted(set(entry) - FIELDS[name])
            if unknown or not entry.get("actions"):
                raise EvidenceError(f"{name}.toml: an entry of {title} has {unknown[0] if unknown else 'no actions'}.")
            for role in groups.get(kind, [kind]):
                if role not in ROLES:
                    raise EvidenceError(f"{name}.toml: there is no role {PROJECT}-{role}.")
                yield f"{stack}.yaml" if dot else "", f"{PROJECT}-{role}", entry


def _calls(stack: str, role: str, entry: Mapping[str, Any], source: str, why: str) -> Iterator[Call]:
    """Each action on each resource, with each combination of the keys' values."""
    names = {**NAMES, "role": role}
    keys = {key: [_filled(each, names) for each in _list(values)] for key, values in entry.get("keys", {}).items()}
    for action, resource in itertools.product(entry["actions"], entry.get("resources", ["*"])):
        for values in itertools.product(*keys.values()):
            context = _keys({key: [value] for key, value in zip(keys, values, strict=True)})
            yield Call(stack, role, action, _filled(resource, names), context, source, why, entry.get("page", ""))


def _filled(text: Any, names: Mapping[str, str]) -> str:
    try:
        return str(text).format_map(names)
    except (KeyError, ValueError):
        raise EvidenceError(f"{text!r} has a name that is none of {', '.join(sorted(names))}.") from None


def _keys(given: Mapping[str, Any]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return tuple(sorted((key.lower(), tuple(map(str, _list(values)))) for key, values in given.items()))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
