"""Proves that no role of the templates may do more, or less, than it has to: `make prove-least-privilege`.

    python -m tools.iam.prove [--port PORT]

What is taken away has to be missed by a call that is recorded of a real chain, or that AWS's documentation says a
service makes; what is widened has to let something through that infra/proof/forbidden.toml forbids. Whatever of a
policy could change without being noticed is named, one line each, and the exit status is 1. Decided by the local AWS's
own evaluator. docs/least_privilege.md says how to read the table.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from local_aws.control import Refused
from local_aws.iam.evaluate import Named
from local_aws.iam.policy import read
from tools.iam import evidence, policies, record, resource_policies
from tools.iam.evidence import Call
from tools.iam.policies import Document
from tools.iam.templates import Role, boundary, every_role


class Part(NamedTuple):
    """A part of a statement, as the table and the findings name it."""

    role: Role
    policy: str
    sid: str
    kind: str
    """action, resource, value or condition."""
    text: str

    def __str__(self) -> str:
        return f"{self.role.stack}: {self.role.name}, {self.policy}.{self.sid}, {self.kind} {self.text}"


@dataclass
class Counts:
    """Of one role and kind of part."""

    granted: int = 0
    recorded: int = 0
    documented: int = 0
    listed: int = 0
    forbidden: int = 0
    unproven: int = 0


class Proof:
    """All of it; `counts` by (stack, role, what is changed) and `findings` when done.

    Parameters
    ----------
    calls
        What roles call: recorded, or documented by AWS.
    listed
        Actions that nobody can simulate, with AWS's page, by (stack, role).
    forbidden
        What roles must not be able to do.
    """

    def __init__(
        self,
        roles: Iterable[Role],
        calls: Iterable[Call],
        listed: dict[tuple[str, str], set[str]],
        forbidden: Iterable[Call],
    ) -> None:
        self.roles, self.listed = list(roles), listed
        self.calls, self.forbidden = list(calls), list(forbidden)
        self.counts: dict[tuple[str, str, str], Counts] = {}
        self.findings: list[str] = []

    def run(self) -> None:
        """Prove each role of each stack."""
        for role in self.roles:
            own = [each for each in self.calls if (each.stack, each.role) == (role.stack, role.name)]
            others = [each for each in self.forbidden if each.role == role.name and each.stack in ("", role.stack)]
            self._needs(role, own)
            self._refuses(role, others)
            for policy, number in _statements(role):
                self._take_away(role, policy, number, own)
                self._widen(role, policy, number, others)

    def _needs(self, role: Role, calls: list[Call]) -> None:
        """Each call is allowed, also within the boundary."""
        limit = Named("boundary", read(boundary())) if role.stack != "github.yaml" else None
        for call in calls:
            if not policies.allowed(role.policies, role, call):
                self.findings.append(f"{role.stack}: {role.name} may not {call}, which is {call.source}")
            elif not policies.allowed(role.policies, role, call, limit):
                self.findings.append(f"github.yaml: the boundary keeps {role.name} from {call}, which is {call.source}")

    def _refuses(self, role: Role, forbidden: list[Call]) -> None:
        for each in forbidden:
            if policies.allowed(role.policies, role, each):
                self.findings.append(f"{role.stack}: {role.name} may {each}, which is forbidden: {each.why}")

    def _take_away(self, role: Role, policy: str, number: int, calls: list[Call]) -> None:
        for part, counts, statement, without in self._changes(role, policy, number, policies.less):
            kind, text = part.kind, part.text
            about = [text] if kind == "action" else policies.listed(statement["Action"])
            missed = [each for each in calls if each.action in about and not policies.allowed(without, role, each)]
            if any(each.source == evidence.RECORDED for each in missed):
                counts.recorded += 1
            elif missed:
                counts.documented += 1
            elif kind == "action" and text in self.listed.get((role.stack, role.name), ()):
                counts.listed += 1
            else:
                counts.unproven += 1
                self.findings.append(f"{part}: no call is denied without it")

    def _widen(self, role: Role, policy: str, number: int, forbidden: list[Call]) -> None:
        for part, counts, statement, wider in self._changes(role, policy, number, policies.more):
            about = [each for each in forbidden if each.action in policies.listed(statement["Action"])]
            if any(policies.allowed(wider, role, each) for each in about):
                counts.forbidden += 1
            else:
                counts.unproven += 1
                self.findings.append(f"{part}: nothing forbidden becomes possible")

    def _changes(
        self, role: Role, policy: str, number: int, change: Callable[[Document], Iterator[tuple[str, str, Any]]]
    ) -> Iterator[tuple[Part, Counts, Document, dict[str, Document]]]:
        """A statement's parts, each counted, with the statement as it is and the policies as they would be then."""
        statement = role.policies[policy]["Statement"][number]
        for kind, text, changed in change(statement):
            part = Part(role, policy, statement["Sid"], kind, text)
            yield part, self._count(part), statement, policies.changed(role.policies, policy, number, changed)

    def _count(self, part: Part) -> Counts:
        counts = self.counts.setdefault((part.role.stack, part.role.name, part.kind), Counts())
        counts.granted += 1
        return counts


def _statements(role: Role) -> Iterator[tuple[str, int]]:
    for policy, document in role.policies.items():
        for number in range(len(document["Statement"])):
            yield policy, number


def table(proof: Proof) -> str:
    """What was changed how often, and who noticed, as lines."""
    heads = ("stack", "role", "what", "in all", "recorded", "simulated", "listed", "forbidden", "unproven")
    rows = [heads]
    for (stack, role, kind), each in proof.counts.items():
        figures = (each.granted, each.recorded, each.documented, each.listed, each.forbidden, each.unproven)
        rows.append((stack, role, kind, *map(str, figures)))
    totals = [sum(int(row[number]) for row in rows[1:]) for number in range(3, len(heads))]
    rows.append(("all", "", "", *map(str, totals)))
    widths = [max(len(row[number]) for row in rows) for number in range(len(heads))]
    aligned = [[str.ljust] * 3 + [str.rjust] * 6] * len(rows)
    return "\n".join(
        "  ".join(align(text, width) for align, text, width in zip(aligns, row, widths, strict=True)).rstrip()
        for aligns, row in zip(aligned, rows, strict=True)
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--port", type=int, help="take the calls of the local AWS that listens there, instead of those recorded"
    )
    given = parser.parse_args(arguments)
    try:
        recorded = evidence.recorded() if given.port is None else record.of_a_daemon(given.port)
        simulated, listed = evidence.by_aws()
        proof = Proof(every_role(), [*recorded, *simulated], listed, evidence.forbidden())
        parts, unnoticed = resource_policies.prove()
    except (evidence.EvidenceError, Refused) as error:
        print(error, file=sys.stderr)
        return 1
    proof.run()
    print(table(proof))
    print()
    print(f"Policies of resources, trust policies among them: {parts} parts changed, {len(unnoticed)} findings.")
    findings = [*proof.findings, *unnoticed]
    print(f"What could change without being noticed: {len(findings) or 'nothing'}.")
    for each in findings:
        print(each)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
