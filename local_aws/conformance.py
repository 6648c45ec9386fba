"""How much of AWS is here, counted: who owns which kind of resource, and what becomes of each member of a request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from local_aws.pipeline import members, owners
from local_aws.pipeline.directory import operation
from local_aws.pipeline.kinds import KINDS
from local_aws.support import implemented_by_moto, own_operations, supported_by_moto

TREATMENTS = (members.CARRIED, members.ONLY, members.RECORDED, members.REFUSED)


class Unknown(Exception):
    """There is no operation of our own of this name, as one sentence."""


def owners_table() -> str:
    """Markdown: each kind of resource of the services that are ours in part, with the operations that touch it."""
    own = own_operations()
    lines = ["| service | kind | owner | operations of ours | moto's | refused by name |", "|---|---|---|---|---|---|"]
    for service in sorted(own):
        rows = owners.table(service, own[service], supported_by_moto(service) or ())
        for kind in KINDS.get(service, ()):
            about = [row for row in rows if kind in row.kinds]
            counts = Counter(row.owner for row in about)
            known = implemented_by_moto(service) or ()
            refused = [row.operation for row in about if row.owner == owners.REFUSED and row.operation in known]
            more = counts[owners.REFUSED] - len(refused)
            shown = ", ".join([*refused, *([f"{more} more"] if more else [])]) or "-"
            owner = "the local AWS" if kind.ours else "moto"
            ours, moto = counts[owners.OURS], counts[owners.MOTO]
            lines.append(f"| {service} | {kind.name} | {owner} | {ours} | {moto} | {shown} |")
    return "\n".join(lines)


def counts() -> dict[str, tuple[int, Counter[str]]]:
    """By service: how many operations of ours it has, and what becomes of their members."""
    found = {}
    for service, names in sorted(own_operations().items()):
        of_service: Counter[str] = Counter()
        for name in names:
            of_service.update(member.treatment for member in members.of(operation(service, name), service))
        found[service] = len(names), of_service
    return found


def members_table() -> str:
    """Markdown: a row a service with its operations and the members of their requests, and one for all."""
    head = ["service", "operations", "members", *TREATMENTS, "ignored"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    total: Counter[str] = Counter()
    operations = 0
    for service, (number, of_service) in counts().items():
        operations, total = operations + number, total + of_service
        lines.append(_row(service, number, of_service))
    return "\n".join([*lines, _row("**all**", operations, total)])


def _row(name: str, operations: int, of_service: Counter[str]) -> str:
    each = " | ".join(f"{of_service[treatment]:,}" for treatment in TREATMENTS)
    return f"| {name} | {operations} | {of_service.total():,} | {each} | 0 |"


def reasons() -> str:
    """Markdown: what is recorded although it is about billing, security, data or compute, and why."""
    return "\n".join(f"- `{name.rstrip('.')}`: {why}." for name, why in members.declared()["because"].items())


def describe(name: str) -> str:
    """What becomes of each member of an operation's request, as text for a person. Raises Unknown."""
    service, _, wanted = name.rpartition(".")
    found = [
        (each, known)
        for each, names in own_operations().items()
        for known in names
        if known.lower() == wanted.lower() and service in ("", each)
    ]
    if not found:
        raise Unknown(
            f"{name} is no operation that the local AWS answers itself; `python -m local_aws support` lists them."
        )
    return "\n\n".join("\n".join(_lines(each, known)) for each, known in sorted(found))


def _lines(service: str, name: str) -> Iterator[str]:
    every = members.of(operation(service, name), service)
    yield f"{service}.{name}: {len(every)} members"
    for member in every:
        values = f": {', '.join(map(str, member.values))}" if member.values else ""
        yield f"  {member.path:60} {member.treatment}{values}"
