"""Lambda's layers as kinds of resources."""

from __future__ import annotations

from typing import Any, ClassVar

from local_aws.stacks.kinds import Kind, Steps, Work, fit, gone


class _Layer(Kind):
    """A template has the member Content, and the operations a version by two members, of which ARNs have both."""

    service = "lambda"

    def update(self, work: Work) -> Steps:
        yield from ()

    @staticmethod
    def of(arn: str) -> dict[str, Any]:
        layer, _, number = arn.rpartition(":")
        return {"LayerName": layer, "VersionNumber": int(number)}


class LayerVersion(_Layer):
    type, creates, named, longest = "AWS::Lambda::LayerVersion", "PublishLayerVersion", "LayerName", 140
    replacing = frozenset(
        {"LayerName", "Content", "Description", "CompatibleRuntimes", "CompatibleArchitectures", "LicenseInfo"}
    )
    attributes = ("LayerVersionArn",)

    def create(self, work: Work) -> Steps:
        made = work.call(self.service, self.creates, {**self.members(work, "LayerName"), "LayerName": self.name(work)})
        work.entry.id = work.entry.attributes["LayerVersionArn"] = made["LayerVersionArn"]
        yield from ()

    def delete(self, work: Work) -> Steps:
        gone(lambda: work.client(self.service).delete_layer_version(**self.of(work.entry.id)))
        yield from ()


class LayerVersionPermission(_Layer):
    type, creates = "AWS::Lambda::LayerVersionPermission", "AddLayerVersionPermission"
    properties: ClassVar[frozenset[str]] = frozenset({"LayerVersionArn"})
    replacing = frozenset({"LayerVersionArn", "Action", "Principal", "OrganizationId"})

    def create(self, work: Work) -> Steps:
        statement = f"{work.stack}-{work.entry.logical_resource_id}"[:100]
        members = {**self.members(work), **self.of(str(work.given["LayerVersionArn"])), "StatementId": statement}
        work.call(self.service, self.creates, members)
        work.entry.id = f"{work.given['LayerVersionArn']}#{statement}"
        yield from ()

    def delete(self, work: Work) -> Steps:
        arn, _, statement = work.entry.id.partition("#")
        client = work.client(self.service)
        shape = client.meta.service_model.operation_model("RemoveLayerVersionPermission").input_shape
        of = fit({**self.of(arn), "StatementId": statement}, shape, "")
        gone(lambda: client.remove_layer_version_permission(**of))
        yield from ()


KINDS: list[Kind] = [LayerVersion(), LayerVersionPermission()]
