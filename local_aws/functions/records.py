"""The records of functions, versions and aliases, and how they are named."""

from __future__ import annotations

import datetime as dt
import random
import re
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local_aws.errors import AwsError
from local_aws.functions.code import Code

LATEST = "$LATEST"
# How long a function is Pending, and an update InProgress. Seconds on AWS; enough here for a client to see it.
SETTLE_SECONDS = 0.15
REFERENCE = re.compile(
    r"^(?:(?:arn:aws:lambda:[a-z0-9-]+:)?(?:\d{12}:)?function:|\d{12}:function:)?"
    r"(?P<name>[a-zA-Z0-9_-]{1,64})(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9_-]{1,128}))?$"
)


@dataclass
class Version:
    """One version's code and configuration; a published one never changes.

    `settings` are the members of AWS's FunctionConfiguration that a user sets.
    """

    function: Function
    number: str
    code: Code
    settings: dict[str, Any]
    modified: str = field(default_factory=lambda: stamp())
    revision: str = field(default_factory=lambda: str(uuid.uuid4()))
    opt: Path | None = None
    """What its layers hold, merged."""

    @property
    def arn(self) -> str:
        return self.function.arn if self.number == LATEST else f"{self.function.arn}:{self.number}"

    @property
    def timeout(self) -> float:
        return self.settings["Timeout"]

    @property
    def memory(self) -> int:
        return self.settings["MemorySize"]

    def describe(self, *, qualified: bool = False) -> dict[str, Any]:
        """As AWS's FunctionConfiguration; `qualified`: with the qualifier in $LATEST's ARN, as in lists of versions."""
        function, now = self.function, time.monotonic()
        pending, updating = now < function.active_at, now < function.updated_at
        answer = {
            "FunctionName": function.name,
            "FunctionArn": f"{function.arn}:{self.number}" if qualified else self.arn,
            # AWS leaves out what was not given.
            **{name: value for name, value in self.settings.items() if value not in (None, {}, [])},
            "CodeSize": self.code.size,
            "CodeSha256": self.code.sha256,
            "Version": self.number,
            "LastModified": self.modified,
            "RevisionId": self.revision,
            "PackageType": "Zip",
            "State": "Pending" if pending else "Active",
            "LastUpdateStatus": "InProgress" if pending or updating else "Successful",
        }
        if pending:
            answer |= {"StateReason": "The function is being created.", "StateReasonCode": "Creating"}
        return answer


@dataclass
class Alias:
    """A name for a version, or for two with a share of the calls each."""

    function: Function
    name: str
    version: str
    description: str = ""
    weights: dict[str, float] = field(default_factory=dict)
    revision: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def arn(self) -> str:
        return f"{self.function.arn}:{self.name}"

    def choose(self) -> str:
        """The version of one call."""
        drawn = random.random()
        for version, weight in self.weights.items():
            drawn -= weight
            if drawn < 0:
                return version
        return self.version

    def describe(self) -> dict[str, Any]:
        answer = {
            "AliasArn": self.arn,
            "Name": self.name,
            "FunctionVersion": self.version,
            "Description": self.description,
            "RevisionId": self.revision,
        }
        if self.weights:
            answer["RoutingConfig"] = {"AdditionalVersionWeights": self.weights}
        return answer


@dataclass
class Function:
    """One function with its versions and aliases."""

    name: str
    arn: str
    tags: dict[str, str] = field(default_factory=dict)
    versions: dict[str, Version] = field(default_factory=dict)
    aliases: dict[str, Alias] = field(default_factory=dict)
    policies: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    reserved: int | None = None
    published: int = 0
    active_at: float = field(default_factory=lambda: time.monotonic() + SETTLE_SECONDS)
    updated_at: float = 0.0

    def restored(self, folder: Path) -> None:
        """It was saved, and its code is below `folder` now. Raises FileNotFoundError where that is not so."""
        for version in self.versions.values():
            version.code = version.code.moved(folder)
        # Counted by another process's clock, and long over.
        self.active_at = self.updated_at = 0.0

    @property
    def latest(self) -> Version:
        return self.versions[LATEST]

    def version(self, qualifier: str | None, *, draw: bool = False) -> Version:
        """The version that a qualifier means. With `draw`, an alias's weights decide.

        Raises AwsError("ResourceNotFoundException").
        """
        alias = self.aliases.get(qualifier or "")
        number = (alias.choose() if draw else alias.version) if alias else qualifier or LATEST
        if number not in self.versions:
            raise not_found(f"{self.arn}:{qualifier}")
        return self.versions[number]


def stamp() -> str:
    """Now, as Lambda writes it in LastModified."""
    now = dt.datetime.now(dt.UTC)
    return now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}+0000"


def not_found(arn: str) -> AwsError:
    return AwsError("ResourceNotFoundException", f"Function not found: {arn}", status=404, Type="User")


def conflict(message: str) -> AwsError:
    return AwsError("ResourceConflictException", message, status=409, Type="User")


def parse_reference(text: str, qualifier: str | None = None) -> tuple[str, str | None]:
    """(name, qualifier) of a name, name:qualifier, partial or full ARN.

    Raises AwsError when it is none of them, or names another qualifier than the parameter does.
    """
    match = REFERENCE.match(text)
    if match is None:
        raise AwsError(
            "ValidationException",
            f"1 validation error detected: Value '{text[:200]}' at 'functionName' failed to satisfy "
            f"constraint: Member must "
            "be a function's name (at most 64 letters, digits, - and _), name:qualifier, or ARN",
        )
    named = match["qualifier"]
    if named and qualifier and named != qualifier:
        raise AwsError(
            "InvalidParameterValueException",
            f"The derived qualifier from the function name does not match the specified qualifier: {named}, "
            f"{qualifier}.",
        )
    return match["name"], qualifier or named
