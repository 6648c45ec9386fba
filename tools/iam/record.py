"""Takes what roles called in a real chain into infra/proof/calls.json, which the proof of least privilege goes by.

    python -m tools.iam.record [--port PORT | --calls FILE] [--anew]

From a local AWS that enforces IAM and has run a chain (`make up` and DAGs, or `tools/iam/chain.py`), or from the file
that a chain left. What is recorded already stays, unless `--anew`. Names that a run draws (ids, numbers, digests,
pictures) are the same in every recording, so that it changes only when the code calls something else.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from local_aws.control import Refused, tell
from tools.iam.evidence import FOLDER, MAIN, Call, by_aws, of_roles, recorded
from tools.iam.policies import grants
from tools.iam.templates import ACCOUNT, every_role

FILE = FOLDER / "calls.json"
# What a run draws, in the order in which it is looked for, and what stands for it.
DRAWN = [
    (re.compile(r"((?:/dataset/[^/]+|/dogs)/(?:train|valid|test)/).+$"), r"\1BREED/PICTURE.jpg"),
    (re.compile(r"(/runs/)[^/]+"), r"\1RUN"),
    (re.compile(rf"(?<![A-Za-z0-9])(?!{ACCOUNT})(?:(?:i|subnet|ami|vol|eni)-)?[0-9a-f]{{7,}}(?![A-Za-z0-9])"), "ID"),
    (re.compile(rf"(?<![A-Za-z0-9])(?!{ACCOUNT})\d+(?![A-Za-z0-9])"), "N"),
    # Of an attempt, or a trial.
    (re.compile(r"-(?:ID|N)(?:-(?:ID|N))+"), "-ID"),
]


def stable(text: str) -> str:
    """A resource or a value without what a run draws."""
    *head, rest = text.split(":", 5) if text.startswith("arn:") else [text]
    for pattern, instead in DRAWN:
        rest = pattern.sub(instead, rest)
    return ":".join([*head, rest])


def stabilised(calls: Iterable[Call]) -> set[Call]:
    """Calls without what a run draws."""
    return {
        Call(each.stack, each.role, each.action, stable(each.resource),
             tuple((key, tuple(map(stable, values))) for key, values in each.keys))
        for each in calls
    }  # fmt: skip


def written(calls: Iterable[Call]) -> str:
    """The text of calls.json: a line for each call."""
    lines: dict[str, list[str]] = {}
    for each in sorted(set(calls), key=lambda call: (call.role, call.action, call.resource, call.keys)):
        entry: dict[str, Any] = {"action": each.action, "resource": each.resource}
        if each.keys:
            entry["keys"] = {key: list(values) for key, values in each.keys}
        lines.setdefault(each.role, []).append(f"  {json.dumps(entry)}")
    roles = [f"{json.dumps(role)}: [\n" + ",\n".join(each) + "\n ]" for role, each in lines.items()]
    return "{\n " + ",\n ".join(roles) + "\n}\n"


def of_a_daemon(port: int) -> list[Call]:
    """What the roles have called of a local AWS. Raises Refused."""
    return sorted(stabilised(of_roles(json.loads(tell(port, "iam-calls", {})))), key=str)


def missing(found: Mapping[str, Any]) -> list[str]:
    """What roles have called by a part of their policies that no recorded or simulated call goes by; a line for each.

    A call like a recorded one, of another name, adds nothing to the proof, and is not missing. Parameters: `found` as
    the journal of a local AWS has it (`iam calls`). Raises EvidenceError.
    """
    roles = {each.name: each for each in every_role() if each.stack == MAIN}

    def used(calls: Iterable[Call]) -> dict[tuple[str, str, object], Call]:
        return {(each.role, each.action, grants(roles[each.role], each)): each for each in calls if each.role in roles}

    known, now = used([*recorded(), *by_aws()[0]]), used(sorted(stabilised(of_roles(found)), key=str))
    return [f"{each.role}: {each}" for key, each in now.items() if key not in known]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=4566, help="where the local AWS listens (default: 4566)")
    parser.add_argument("--calls", type=Path, help="a file that `iam calls` or tools/iam/chain.py has written")
    parser.add_argument("--anew", action="store_true", help="forget what is recorded already")
    given = parser.parse_args(arguments)
    try:
        found = json.loads(given.calls.read_text() if given.calls else tell(given.port, "iam-calls", {}))
    except (OSError, ValueError, Refused) as error:
        print(f"There is nothing to record: {error}", file=sys.stderr)
        return 1
    before = set() if given.anew or not FILE.exists() else set(of_roles(json.loads(FILE.read_text())))
    after = before | stabilised(of_roles(found))
    FILE.write_text(written(after))
    print(f"{len(after)} calls of {len({each.role for each in after})} roles; {len(after - before)} of them are new.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
