"""Lambda's operations on layers."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from local_aws.errors import AwsError
from local_aws.functions import layers
from local_aws.functions.code import invalid
from local_aws.functions.layers import Layer, LayerVersion
from local_aws.functions.records import conflict
from local_aws.iam.presigned import presigned
from local_aws.services.base import Call, FastPath, RawRequest, RawResponse, Service
from local_aws.services.lambda_ import Lambda, page

DESCRIBED = ("Description", "CompatibleRuntimes", "CompatibleArchitectures", "LicenseInfo")
MOST_RUNTIMES = 15


class LambdaLayers(Service):
    """Versions of layers, and who else may use them."""

    name = "lambda"

    @property
    def functions(self) -> Lambda:
        return self.aws.service(Lambda)

    @property
    def known(self) -> dict[str, Layer]:
        return self.functions.layers.known

    def fast_paths(self) -> Iterable[FastPath]:
        # Where GetLayerVersion says that the content is, as AWS says it with a presigned URL.
        content = re.compile(r"/_local_aws/layers/([^/]+)/([^/]+)/content.zip")
        yield FastPath("GET", content, "lambda", "lambda", "GetLayerVersion", ("LayerName", "VersionNumber"), self._zip)

    # Operations

    def publish_layer_version(self, call: Call) -> dict[str, Any]:
        params = call.params
        name, _ = layers.parse(unquote(params["LayerName"]))
        if len(params.get("CompatibleRuntimes") or ()) > MOST_RUNTIMES:
            raise invalid(f"CompatibleRuntimes has at most {MOST_RUNTIMES} of them.")
        content = self.functions.code(self.functions.layers.folder / name, params["Content"], "PublishLayerVersion")
        described = {each: params.get(each) for each in DESCRIBED} | {"Description": params.get("Description") or ""}
        with self.functions.lock:
            layer = self.known.setdefault(name, Layer(name, call.arn(f"layer:{name}")))
            layer.published += 1
            version = LayerVersion(f"{layer.arn}:{layer.published}", layer.published, content, described)
            layer.versions[version.number] = version
        return self._described(version, call)

    def get_layer_version(self, call: Call) -> dict[str, Any]:
        return self._described(self._named(call), call)

    def get_layer_version_by_arn(self, call: Call) -> dict[str, Any]:
        name, number = layers.parse(call.params["Arn"])
        return self._described(self.functions.layers.version(name, number), call)

    def list_layer_versions(self, call: Call) -> dict[str, Any]:
        name, _ = layers.parse(unquote(call.params["LayerName"]))
        layer = self.known.get(name)
        found = [each.describe() for each in (layer.present() if layer else ()) if self._fits(each, call)]
        return page(found, call, "LayerVersions")

    def list_layers(self, call: Call) -> dict[str, Any]:
        found = []
        for layer in sorted(self.known.values(), key=lambda each: each.name):
            latest = next((each for each in layer.present() if self._fits(each, call)), None)
            if latest is not None:
                named = {"LayerName": layer.name, "LayerArn": layer.arn}
                found.append(named | {"LatestMatchingVersion": latest.describe()})
        return page(found, call, "Layers")

    def delete_layer_version(self, call: Call) -> None:
        """AWS says nothing of one that is not there."""
        name, _ = layers.parse(unquote(call.params["LayerName"]))
        with self.functions.lock:
            layer = self.known.get(name)
            version = layer.versions.get(call.params["VersionNumber"]) if layer else None
            if version is not None:
                version.deleted = True

    def add_layer_version_permission(self, call: Call) -> dict[str, Any]:
        version, params = self._named(call), call.params
        if params["Action"] != "lambda:GetLayerVersion":
            raise AwsError(
                "ValidationException",
                f"1 validation error detected: Value '{params['Action']}' at 'action' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: lambda:GetLayerVersion",
            )
        if params.get("OrganizationId") and params["Principal"] != "*":
            raise invalid("OrganizationId is given with the Principal * alone.")
        with self.functions.lock:
            self._check_revision(call, version)
            if params["StatementId"] in version.statements:
                raise conflict(
                    f"The statement id ({params['StatementId']}) provided already exists. Please provide a new "
                    "statement id, or remove the existing statement."
                )
            principal = params["Principal"]
            statement: dict[str, Any] = {
                "Sid": params["StatementId"],
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{principal}:root"} if principal.isdigit() else principal,
                "Action": params["Action"],
                "Resource": version.arn,
            }
            if params.get("OrganizationId"):
                statement["Condition"] = {"StringEquals": {"aws:PrincipalOrgID": params["OrganizationId"]}}
            version.statements[params["StatementId"]] = statement
            version.revision = str(uuid.uuid4())
        return {"Statement": json.dumps(statement), "RevisionId": version.revision}

    def get_layer_version_policy(self, call: Call) -> dict[str, Any]:
        version = self._named(call)
        if not version.statements:
            raise AwsError(
                "ResourceNotFoundException", "No policy is associated with the given resource.", status=404, Type="User"
            )
        return {"Policy": self._policy(version), "RevisionId": version.revision}

    def remove_layer_version_permission(self, call: Call) -> None:
        version = self._named(call)
        with self.functions.lock:
            self._check_revision(call, version)
            if version.statements.pop(call.params["StatementId"], None) is None:
                message = f"Statement {call.params['StatementId']} is not found in resource policy."
                raise AwsError("ResourceNotFoundException", message, status=404, Type="User")
            version.revision = str(uuid.uuid4())

    def resource_policy(self, arn: str) -> str | None:
        match = layers.ARN.fullmatch(arn)
        layer = self.known.get(match["name"]) if match and match["number"] else None
        version = layer.versions.get(int(match["number"])) if match and layer else None
        return self._policy(version) if version and version.statements else None

    # What is there

    @staticmethod
    def _policy(version: LayerVersion) -> str:
        statements = list(version.statements.values())
        return json.dumps({"Version": "2012-10-17", "Id": "default", "Statement": statements})

    def _named(self, call: Call) -> LayerVersion:
        name, _ = layers.parse(unquote(call.params["LayerName"]))
        return self.functions.layers.version(name, call.params["VersionNumber"])

    @staticmethod
    def _fits(version: LayerVersion, call: Call) -> bool:
        return version.fits(call.params.get("CompatibleRuntime"), call.params.get("CompatibleArchitecture"))

    @staticmethod
    def _check_revision(call: Call, version: LayerVersion) -> None:
        if call.params.get("RevisionId") not in (None, "", version.revision):
            raise AwsError(
                "PreconditionFailedException",
                "The Revision Id provided does not match the latest Revision Id. Call the GetLayerVersionPolicy API to "
                "retrieve the latest Revision Id",
                status=412,
            )

    def _described(self, version: LayerVersion, call: Call) -> dict[str, Any]:
        layer_arn, name = version.arn.rpartition(":")[0], version.arn.split(":")[6]
        location = presigned(self.aws, call, f"/_local_aws/layers/{name}/{version.number}/content.zip")
        content = {"Location": location, "CodeSha256": version.content.sha256, "CodeSize": version.content.size}
        return {"Content": content, "LayerArn": layer_arn, **version.describe()}

    def _zip(self, request: RawRequest) -> RawResponse:
        number = str(request.params["VersionNumber"])
        named = int(number) if number.isdigit() else None
        version = self.functions.layers.version(request.params["LayerName"], named)
        return RawResponse(200, [("Content-Type", "application/zip")], version.content.archive.read_bytes())
