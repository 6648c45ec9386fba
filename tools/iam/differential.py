"""The local AWS's IAM beside an independent simulator: drawn cases, how many agree, and which do not.

    python -m tools.iam.differential [--cases 20000] [--seed 1] [--show 10]

Needs node and npm. The simulator (npm: @cloud-copilot/iam-simulate, AGPL-3.0) is run as a program of its own, in a
folder of build/; nothing of it is part of this project.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from local_aws.iam.conditions import OPERATORS
from local_aws.iam.evaluate import Named, Policies, Principal, evaluate
from local_aws.iam.policy import read

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build/iam-simulate"
PACKAGE = "@cloud-copilot/iam-simulate@0.1.173"
ACCOUNT, OTHER = "123456789012", "999988887777"
ADA, JOBS = f"arn:aws:iam::{ACCOUNT}:user/ada", f"arn:aws:iam::{ACCOUNT}:role/jobs"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/jobs/one"
ACTIONS = ["s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:DeleteObject", "sqs:SendMessage", "sqs:DeleteQueue"]
ACTION_PATTERNS = [*ACTIONS, "s3:*", "s3:Get*", "*", "sqs:*Message", "S3:getobject", "s3:?etObject", "sqs:*"]
BUCKET = "arn:aws:s3:::pictures"
QUEUE = f"arn:aws:sqs:us-east-1:{ACCOUNT}:orders"
RESOURCE_PATTERNS = [
    "*", BUCKET, f"{BUCKET}/*", f"{BUCKET}/a/*", f"{BUCKET}/a/?.jpg", "arn:aws:s3:::*", f"{BUCKET}/${{aws:username}}/*",
    QUEUE, f"arn:aws:sqs:*:{ACCOUNT}:*", "arn:aws:sqs:us-*:*:ord*", f"{BUCKET}/${{aws:PrincipalTag/team, 'none'}}/*",
]  # fmt: skip
OBJECTS = [f"{BUCKET}/a/1.jpg", f"{BUCKET}/a/12.jpg", f"{BUCKET}/ada/x", f"{BUCKET}/none/x"]
# Key -> values that a request may have; a list of lists for a key with several.
KEYS: dict[str, list[Any]] = {
    "aws:username": ["ada", "bob"],
    "aws:PrincipalTag/team": ["ada", "red"],
    "aws:SourceIp": ["10.0.0.1", "192.0.2.7", "2001:db8::1"],
    "aws:SecureTransport": ["true", "false"],
    "aws:CurrentTime": ["2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z"],
    "aws:PrincipalArn": [ADA, JOBS],
    "aws:TagKeys": [["team"], ["team", "cost"], ["cost", "x"], []],
    "aws:RequestTag/team": ["red", "Red", "blue"],
    "s3:max-keys": ["10", "100"],
}
WANTED: dict[str, list[str]] = {
    "String": ["ada", "red", "Red", "r*", "?ed", "team", "t*", "${aws:username}", "cost", "*"],
    "Numeric": ["10", "99", "100.0"],
    "Date": ["2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z", "1767225600"],
    "Bool": ["true", "false", "True"],
    "Binary": ["cmVk"],
    "Ip": ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "0.0.0.0/0"],
    "NotIp": ["10.0.0.0/8", "192.0.2.7/32"],
    "Arn": [f"arn:aws:iam::{ACCOUNT}:user/*", "arn:aws:iam::*:role/jobs", ADA, "arn:aws:s3:::*"],
    "Null": ["true", "false"],
}  # fmt: skip
FITTING = {
    "String": ["aws:username", "aws:PrincipalTag/team", "aws:RequestTag/team", "aws:TagKeys", "aws:PrincipalArn"],
    "Numeric": ["s3:max-keys"], "Date": ["aws:CurrentTime"], "Bool": ["aws:SecureTransport"],
    "Binary": ["aws:RequestTag/team"], "Ip": ["aws:SourceIp"], "NotIp": ["aws:SourceIp"], "Arn": ["aws:PrincipalArn"],
    "Null": list(KEYS),
}  # fmt: skip


class Cases:
    """Draws cases, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def draw(self) -> dict[str, Any]:
        """One, as the simulator takes it."""
        chance = self.random.random
        action = self.random.choice(ACTIONS)
        resource = self.random.choice(OBJECTS)
        if action.startswith("sqs"):
            resource = QUEUE
        elif action == "s3:ListBucket":
            resource = BUCKET
        session = chance() < 0.5
        case = {
            "request": {
                "principal": SESSION if session else ADA,
                "action": action,
                "resource": {"resource": resource, "accountId": OTHER if chance() < 0.15 else ACCOUNT},
                "contextVariables": self._context(session),
            },
            "identityPolicies": [{"name": "identity", "policy": self._policy()}] if chance() < 0.8 else [],
            "serviceControlPolicies": [],
            "resourceControlPolicies": [],
        }
        if chance() < 0.5:
            case["resourcePolicy"] = self._policy(principal=True)
        if chance() < 0.25:
            case["permissionBoundaryPolicies"] = [{"name": "boundary", "policy": self._policy()}]
        if session and chance() < 0.25:
            case["sessionPolicy"] = self._policy()
        return case

    def _context(self, session: bool) -> dict[str, Any]:
        found = {key: self.random.choice(values) for key, values in KEYS.items() if self.random.random() < 0.6}
        found["aws:PrincipalArn"] = JOBS if session else ADA
        if session:
            found.pop("aws:username", None)
        else:
            found["aws:username"] = "ada"
        return found

    def _policy(self, principal: bool = False) -> dict[str, Any]:
        count = self.random.choice([1, 1, 2, 3])
        return {"Version": "2012-10-17", "Statement": [self._statement(n, principal) for n in range(count)]}

    def _statement(self, number: int, principal: bool) -> dict[str, Any]:
        chance, some = self.random.random, self._some
        found: dict[str, Any] = {"Sid": f"s{number}", "Effect": "Deny" if chance() < 0.2 else "Allow"}
        for element, patterns in (("Action", ACTION_PATTERNS), ("Resource", RESOURCE_PATTERNS)):
            if chance() < 0.1:
                found[f"Not{element}"] = some(patterns[1:])
            else:
                found[element] = self._patterns(patterns)
        if principal:
            names = [
                "*",
                ACCOUNT,
                f"arn:aws:iam::{ACCOUNT}:root",
                ADA,
                JOBS,
                SESSION,
                f"arn:aws:iam::{ACCOUNT}:user/bob",
            ]
            negated = found["Effect"] == "Deny" and chance() < 0.3
            found["NotPrincipal" if negated else "Principal"] = {"AWS": some(names[3:] if negated else names)}
        if chance() < 0.4:
            found["Condition"] = self._condition()
        return found

    def _condition(self) -> dict[str, Any]:
        name = self.random.choice([*OPERATORS, "Null"])
        family = next(each for each in WANTED if name.startswith(each))
        key = self.random.choice(FITTING[family])
        written = name
        if name != "Null":
            if key == "aws:TagKeys" or self.random.random() < 0.15:
                written = f"{self.random.choice(['ForAllValues', 'ForAnyValue'])}:{name}"
            if self.random.random() < 0.2:
                written += "IfExists"
        return {written: {key: self._some(WANTED[family])}}

    def _patterns(self, patterns: list[str]) -> list[str]:
        return ["*"] if self.random.random() < 0.4 else self._some(patterns)

    def _some(self, values: list[str]) -> list[str]:
        return self.random.sample(values, min(len(values), self.random.choice([1, 1, 2])))


def ours(case: dict[str, Any], ignored: list[str]) -> str:
    """What the local AWS says, in the simulator's words; `ignored` are keys that no such request has."""
    request = case["request"]
    arn = request["principal"]
    role = JOBS if arn == SESSION else ""
    context = {
        key.lower(): (value,) if isinstance(value, str) else tuple(value)
        for key, value in request["contextVariables"].items()
        if key not in ignored
    }
    boundary = case.get("permissionBoundaryPolicies")
    session = case.get("sessionPolicy")
    decision = evaluate(
        request["action"], request["resource"]["resource"], Principal(arn, ACCOUNT, role), context,
        Policies(
            identity=[Named(each["name"], read(each["policy"])) for each in case["identityPolicies"]],
            resource=Named("resource", read(case["resourcePolicy"])) if "resourcePolicy" in case else None,
            boundary=Named("boundary", read(boundary[0]["policy"])) if boundary else None,
            session=[Named("session", read(session))] if session else None,
            resource_account=request["resource"]["accountId"],
        ),
    )  # fmt: skip
    return {"allowed": "Allowed", "explicitDeny": "ExplicitlyDenied", "implicitDeny": "ImplicitlyDenied"}[
        decision.verdict
    ]


def theirs(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the simulator says of each: its verdict, and which of the context keys it has ignored."""
    if not (FOLDER / "node_modules").is_dir():
        FOLDER.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--prefix", str(FOLDER), PACKAGE], check=True)
    script = FOLDER / "simulate.mjs"
    script.write_text((Path(__file__).with_name("simulate.mjs")).read_text())
    lines = "\n".join(json.dumps(case) for case in cases)
    answered = subprocess.run(["node", str(script)], input=lines, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in answered.splitlines()]


# Where the two differ, and why this project stays as it is: how a case is put otherwise, to see whether that is all.
DIFFERENCES = {
    "a resource's policy names the session or everybody, and a session policy does not limit that "
    '(IAM user guide, "Session policies")': lambda case: {k: v for k, v in case.items() if k != "sessionPolicy"},
    "a date in Unix seconds is compared with one in ISO 8601 (IAM user guide, \"Date condition operators\")":
        lambda case: _replaced(case, "1767225600", "2026-01-01T00:00:00Z"),
    "0.0.0.0/0 is every IPv4 address": lambda case: _replaced(case, '"0.0.0.0/0"', '"0.0.0.0/1", "128.0.0.0/1"'),
    "IfExists makes ForAnyValue true without the key (IAM user guide, \"...IfExists condition operators\")":
        lambda case: json.loads(re.sub(r"(ForAnyValue:\w+?)IfExists", r"\1", json.dumps(case))),
}  # fmt: skip


def _replaced(case: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    return json.loads(json.dumps(case).replace(old, new))


def explained(cases: list[dict[str, Any]]) -> tuple[Counter[str], list[dict[str, Any]]]:
    """How many of the cases that differ do so for each known reason alone or in the end, and those that still do."""
    counts: Counter[str] = Counter()
    for reason, otherwise in DIFFERENCES.items():
        changed = [otherwise(case) for case in cases]
        still = []
        for case, before, said in zip(changed, cases, theirs(changed), strict=True):
            if ours(case, said["ignored"]) == said["verdict"]:
                counts[reason] += 1
            else:
                still.append(case if case != before else before)
        cases = still
    return counts, cases


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=10, help="how many of those that differ are printed")
    arguments = parser.parse_args()
    drawn = Cases(arguments.seed)
    cases = [drawn.draw() for _ in range(arguments.cases)]
    answers = zip(cases, theirs(cases), strict=True)
    pairs = [(case, ours(case, said["ignored"]), said["verdict"]) for case, said in answers]
    differing = [each for each in pairs if each[1] != each[2]]
    print(f"{len(pairs)} cases, {len(pairs) - len(differing)} agree, {len(differing)} differ")
    for (mine, said), count in Counter((mine, said) for _, mine, said in pairs).most_common():
        print(f"{count:7} here {mine}, there {said}")
    reasons, left = explained([case for case, _, _ in differing])
    for reason, count in reasons.items():
        print(f"{count:7} differ because {reason}")
    print(f"{len(left):7} differ for no reason that is known")
    for case in left[: arguments.show]:
        print(json.dumps(case))
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
