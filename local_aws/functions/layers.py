"""Lambda's layers: versions of archives whose contents functions find under /opt.

Source: Lambda developer guide, "Managing Lambda dependencies with layers"; API reference, PublishLayerVersion.
"""

from __future__ import annotations

import re
import shutil
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local_aws.errors import AwsError
from local_aws.functions import opt
from local_aws.functions.code import LARGEST_UNZIPPED, Code, invalid, unzipped
from local_aws.functions.records import Version, stamp

MOST = 5
ARN = re.compile(r"arn:aws:lambda:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):layer:(?P<name>[\w-]{1,140})"
                 r"(?::(?P<number>\d+))?")  # fmt: skip
NAME = re.compile(r"[a-zA-Z0-9_-]{1,140}")
MERGED = "merged layers"
"""The folder of those that several layers are merged in; no layer is called so."""


@dataclass
class LayerVersion:
    """One version of a layer; it never changes. `described` are the members that its publisher gave."""

    arn: str
    number: int
    content: Code
    described: dict[str, Any]
    created: str = field(default_factory=lambda: stamp())
    statements: dict[str, dict[str, Any]] = field(default_factory=dict)
    revision: str = field(default_factory=lambda: str(uuid.uuid4()))
    deleted: bool = False
    """Functions that have it keep it."""

    def describe(self) -> dict[str, Any]:
        """One item of ListLayerVersions."""
        return {
            "LayerVersionArn": self.arn,
            "Version": self.number,
            "CreatedDate": self.created,
            **{name: value for name, value in self.described.items() if value or name == "Description"},
        }

    def fits(self, runtime: str | None, architecture: str | None) -> bool:
        """Whether its publisher has called it compatible with both."""
        return all(
            wanted is None or wanted in (self.described.get(name) or ())
            for name, wanted in (("CompatibleRuntimes", runtime), ("CompatibleArchitectures", architecture))
        )


@dataclass
class Layer:
    """A layer: its versions by their numbers, of which none is given out twice."""

    name: str
    arn: str
    published: int = 0
    versions: dict[int, LayerVersion] = field(default_factory=dict)

    def present(self) -> list[LayerVersion]:
        """Its versions, the newest first."""
        return [each for each in reversed(self.versions.values()) if not each.deleted]


def parse(text: str) -> tuple[str, int | None]:
    """(name, number) of a layer's name, its ARN, or a version's ARN.

    Raises AwsError when it is none of them.
    """
    if NAME.fullmatch(text):
        return text, None
    match = ARN.fullmatch(text)
    if match is None:
        raise invalid(f"Invalid Layer name: {text}. It is 1 to 140 letters, digits, - and _, or a layer's ARN.")
    return match["name"], int(match["number"]) if match["number"] else None


def missing() -> AwsError:
    """AWS's sentence for a version that is not there."""
    return AwsError("ResourceNotFoundException", "The resource you requested does not exist.", status=404, Type="User")


def check_list(arns: list[str], region: str) -> None:
    """Whether a function may have these, whatever they hold. Raises AwsError in AWS's words."""
    if len(arns) > MOST:
        raise invalid(f"Cannot reference more than {MOST} layers.")
    seen: dict[str, str] = {}
    for each in arns:
        match = ARN.fullmatch(each)
        if match is None or match["number"] is None:
            raise AwsError(
                "ValidationException",
                f"1 validation error detected: Value '[{each}]' at 'layers' failed to satisfy constraint: Member must "
                "be the ARN of a layer's version: arn:aws:lambda:REGION:ACCOUNT:layer:NAME:NUMBER",
            )
        if match["region"] != region:
            raise invalid(
                f"Layers are not in the same region as the function. Layers are expected to be in region {region}."
            )
        layer = each.rpartition(":")[0]
        if layer in seen:
            raise invalid(
                "Two different versions of the same layer are not allowed to be referenced in the same function. "
                f"{seen[layer]} and {each} are versions of the same layer."
            )
        seen[layer] = each


def check_size(code: Code, layers: list[LayerVersion]) -> None:
    """Raises AwsError when a function's code and its layers are too large together."""
    size = unzipped(code) + sum(unzipped(each.content) for each in layers)
    if layers and size > LARGEST_UNZIPPED:
        raise invalid(
            f"Function code combined with layers exceeds the maximum allowed size of {LARGEST_UNZIPPED} bytes. The "
            f"actual size is {size} bytes."
        )


class Layers:
    """The layers of this account; there are no others here.

    Parameters: `account`, `region`, and the `folder` where their contents are kept.
    """

    def __init__(self, account: str, region: str, folder: Path) -> None:
        self.folder = folder
        self.known: dict[str, Layer] = {}
        self._account, self._region = account, region

    def restored(self, kept: dict[str, Layer]) -> None:
        """They were saved. Raises FileNotFoundError where the contents of one are gone."""
        self.known = kept
        versions = [each for layer in kept.values() for each in layer.versions.values()]
        for each in versions:
            each.content = each.content.moved(self.folder / each.arn.split(":")[6])
        for unused in set(self.folder.glob("*/*")) - {each.content.archive.parent for each in versions}:
            if unused.parent.name != MERGED:
                shutil.rmtree(unused, ignore_errors=True)

    def version(self, name: str, number: int | None) -> LayerVersion:
        """One that is there. Raises AwsError("ResourceNotFoundException")."""
        layer = self.known.get(name)
        version = layer.versions.get(number or 0) if layer else None
        if version is None or version.deleted:
            raise missing()
        return version

    def checked(self, arns: list[str], code: Code) -> list[dict[str, Any]]:
        """The layers of a function's configuration. Raises AwsError for what AWS refuses."""
        check_list(arns, self._region)
        found = [self._of_function(each) for each in arns]
        check_size(code, found)
        return [{"Arn": each.arn, "CodeSize": each.content.size} for each in found]

    def attach(self, version: Version) -> None:
        """Give a function's version the folder with what its layers hold.

        Raises AwsError where they are too large with its code.
        """
        found = [self._of_function(each["Arn"], kept=True) for each in version.settings.get("Layers") or ()]
        check_size(version.code, found)
        version.opt = opt.merged([(each.content.sha256, each.content.folder) for each in found], self.folder / MERGED)

    def _of_function(self, arn: str, *, kept: bool = False) -> LayerVersion:
        """Parameters: `kept` for one that the function has already, which may be deleted."""
        if arn.split(":")[4] != self._account:
            raise AwsError(
                "AccessDeniedException",
                f"User: arn:aws:iam::{self._account}:root is not authorized to perform: lambda:GetLayerVersion on "
                f"resource: {arn} because no resource-based policy allows the lambda:GetLayerVersion action",
                status=403,
            )
        name, number = parse(arn)
        layer = self.known.get(name)
        version = layer.versions.get(number or 0) if layer else None
        if version is None or (version.deleted and not kept):
            raise invalid(f"Layer version {arn} does not exist.")
        return version
