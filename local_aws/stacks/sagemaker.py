"""SageMaker's kinds of resources, and what scales endpoints and functions."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from local_aws.stacks.kinds import Failed, Kind, Steps, Work, gone, is_missing, retag, tag_list, until


class _Named(Kind):
    """One that an operation makes at once, and whose Ref is its ARN."""

    service, longest = "sagemaker", 63
    arn: str
    deletes: str

    def create(self, work: Work) -> Steps:
        name = self.name(work)
        members = {**self.members(work, "VpcConfig" if not work.given.get("VpcConfig") else ""), self.named: name}
        if tags := work.tag_list():
            members["Tags"] = tags
        made = work.call(self.service, self.creates, members)
        work.entry.id = made[self.arn]
        work.entry.attributes |= {self.named: name, self.arn: made[self.arn]}
        yield from ()

    def update(self, work: Work) -> Steps:
        self._retag(work)
        yield from ()

    def delete(self, work: Work) -> Steps:
        gone(lambda: getattr(work.client(self.service), self.deletes)(**{self.named: work.entry.name}))
        yield from ()

    def _retag(self, work: Work) -> None:
        client, arn = work.client(self.service), work.entry.id
        there = {each["Key"]: each["Value"] for each in client.list_tags(ResourceArn=arn)["Tags"]}
        add, remove = retag(there, work.all_tags())
        if add:
            client.add_tags(ResourceArn=arn, Tags=tag_list(add))
        if remove:
            client.delete_tags(ResourceArn=arn, TagKeys=remove)


class Model(_Named):
    type, creates, deletes = "AWS::SageMaker::Model", "CreateModel", "delete_model"
    named, arn, attributes = "ModelName", "ModelArn", ("ModelName",)
    replacing = frozenset({
        "Containers", "EnableNetworkIsolation", "ExecutionRoleArn", "InferenceExecutionConfig", "ModelName",
        "PrimaryContainer", "VpcConfig",
    })  # fmt: skip


class EndpointConfig(_Named):
    type, creates, deletes = "AWS::SageMaker::EndpointConfig", "CreateEndpointConfig", "delete_endpoint_config"
    named, arn, attributes = "EndpointConfigName", "EndpointConfigArn", ("EndpointConfigName",)
    replacing = frozenset({
        "AsyncInferenceConfig", "DataCaptureConfig", "EndpointConfigName", "KmsKeyId", "ProductionVariants",
        "ShadowProductionVariants", "ExplainerConfig", "ExecutionRoleArn", "VpcConfig", "EnableNetworkIsolation",
    })  # fmt: skip


class ModelPackageGroup(_Named):
    type, creates, deletes = (
        "AWS::SageMaker::ModelPackageGroup",
        "CreateModelPackageGroup",
        "delete_model_package_group",
    )
    named, arn, attributes = "ModelPackageGroupName", "ModelPackageGroupArn", ("ModelPackageGroupArn",)
    replacing = frozenset({"ModelPackageGroupName", "ModelPackageGroupDescription"})


class Endpoint(_Named):
    type, creates = "AWS::SageMaker::Endpoint", "CreateEndpoint"
    named, arn, attributes = "EndpointName", "EndpointArn", ("EndpointName",)
    replacing = frozenset({"EndpointName"})
    # Of UpdateEndpoint alone.
    properties = frozenset({
        "RetainAllVariantProperties", "ExcludeRetainedVariantProperties", "RetainDeploymentConfig",
    })  # fmt: skip

    def create(self, work: Work) -> Steps:
        yield from super().create(work)
        yield from self._in_service(work)

    def update(self, work: Work) -> Steps:
        if work.changed("EndpointConfigName"):
            members = {name: value for name, value in work.given.items() if name not in ("Tags", "EndpointName")}
            work.call(self.service, "UpdateEndpoint", {**members, "EndpointName": work.entry.name})
            yield from self._in_service(work)
        self._retag(work)

    def delete(self, work: Work) -> Steps:
        client, name = work.client(self.service), work.entry.name

        def settled() -> bool:
            status = self._described(work).get("EndpointStatus", "")
            return not status.endswith(("ing", "Cleanup")) or status == "Deleting"

        yield from until(settled)
        gone(lambda: client.delete_endpoint(EndpointName=name))
        yield from until(lambda: not self._described(work))

    def _described(self, work: Work) -> dict[str, Any]:
        """{} for one that is gone."""
        try:
            return work.client(self.service).describe_endpoint(EndpointName=work.entry.name)
        except ClientError as error:
            if is_missing(error):
                return {}
            raise

    def _in_service(self, work: Work) -> Steps:
        def in_service() -> bool:
            now = self._described(work)
            if not now:
                raise Failed("The endpoint was deleted by somebody else.")
            if now["EndpointStatus"] in ("Failed", "UpdateRollbackFailed"):
                raise Failed(now.get("FailureReason", "The endpoint failed."))
            if now["EndpointStatus"] != "InService":
                return False
            if now["EndpointConfigName"] != work.given["EndpointConfigName"]:
                # A deployment that was rolled back leaves the endpoint in service, as it was.
                raise Failed(now.get("FailureReason", "The update of the endpoint was rolled back."))
            return True

        yield from until(in_service)


class ScalableTarget(Kind):
    type, service = "AWS::ApplicationAutoScaling::ScalableTarget", "application-autoscaling"
    creates = "RegisterScalableTarget"
    replacing = frozenset({"ResourceId", "ScalableDimension", "ServiceNamespace"})
    attributes = ("Id",)

    def create(self, work: Work) -> Steps:
        work.call(self.service, self.creates, self.members(work))
        work.entry.id = "|".join(
            str(work.given[each]) for each in ("ResourceId", "ScalableDimension", "ServiceNamespace")
        )
        work.entry.attributes["Id"] = work.entry.id
        yield from ()

    def update(self, work: Work) -> Steps:
        yield from self.create(work)

    def delete(self, work: Work) -> Steps:
        gone(lambda: work.client(self.service).deregister_scalable_target(**target(work.entry.id)))
        yield from ()


class ScalingPolicy(Kind):
    type, service = "AWS::ApplicationAutoScaling::ScalingPolicy", "application-autoscaling"
    creates, named, longest = "PutScalingPolicy", "PolicyName", 256
    properties = frozenset({"ScalingTargetId"})
    replacing = frozenset({"PolicyName", "ResourceId", "ScalableDimension", "ScalingTargetId", "ServiceNamespace"})
    attributes = ("Arn",)

    def create(self, work: Work) -> Steps:
        made = work.call(self.service, self.creates, {**self.members(work), **self._of(work)})
        work.entry.id = work.entry.attributes["Arn"] = made["PolicyARN"]
        yield from ()

    def update(self, work: Work) -> Steps:
        yield from self.create(work)

    def delete(self, work: Work) -> Steps:
        gone(lambda: work.client(self.service).delete_scaling_policy(**self._of(work)))
        yield from ()

    def _of(self, work: Work) -> dict[str, str]:
        if work.given.get("ScalingTargetId"):
            of = target(work.given["ScalingTargetId"])
        else:
            of = {name: work.given[name] for name in ("ServiceNamespace", "ResourceId", "ScalableDimension")}
        return {**of, "PolicyName": self.name(work)}


def target(identifier: str) -> dict[str, str]:
    """What a scalable target's Ref names."""
    names = ("ResourceId", "ScalableDimension", "ServiceNamespace")
    parts = identifier.split("|")
    if len(parts) != len(names):
        raise Failed(f"ScalingTargetId is {identifier!r}; it has to be the Ref of a scalable target.")
    return dict(zip(names, parts, strict=True))


KINDS: list[Kind] = [
    Model(), EndpointConfig(), ModelPackageGroup(), Endpoint(), ScalableTarget(), ScalingPolicy(),
]  # fmt: skip
