"""Back to zero cost: everything that deployment made is removed, and listed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from musher import names
from musher.hooks.serving import ServingHook, found, pairs, removed, wait_until
from musher.operators.base import MusherOperator, plainly
from musher.request_parameters.scaling import variant

if TYPE_CHECKING:
    from airflow.sdk import Context

LIMIT_SECONDS = 1800


class RemovalOperator(MusherOperator):
    """Base of the operators that remove what costs money; what is gone already is no error."""

    aws_hook_class = ServingHook

    def remove_endpoint(self, endpoint: str) -> Iterator[str]:
        """Remove an endpoint with its scalable target, configuration and models; yields what was removed."""
        scaling = self.hook.client("application-autoscaling")
        if removed(lambda: scaling.deregister_scalable_target(**variant(endpoint))):
            yield f"scalable target of {endpoint}"
        now = self.hook.describe_endpoint(endpoint)
        if now is None:
            return
        if self.hook.delete_settled_endpoint(endpoint, self.environment.poll_seconds, LIMIT_SECONDS):
            yield f"endpoint {endpoint}"
        wait_until(
            lambda: self.hook.describe_endpoint(endpoint),
            lambda state: state is None,
            what=f"the removal of the endpoint {endpoint}",
            poll_seconds=self.environment.poll_seconds,
            limit_seconds=LIMIT_SECONDS,
        )
        yield from self.hook.delete_endpoint_config(now["EndpointConfigName"])

    def remove_provisioned_concurrency(self, function: str, qualifier: str) -> Iterator[str]:
        """Give up the environments kept ready; the function stays, and costs nothing while nobody calls it."""
        client = self.hook.client("lambda")
        of = {"FunctionName": function, "Qualifier": qualifier}
        if removed(lambda: client.delete_provisioned_concurrency_config(**of)):
            yield f"provisioned concurrency of {function}"


class RemoveDeploymentOperator(RemovalOperator):
    """Remove scalable target, endpoint, its configurations and models, and the function; registered models stay.

    Can be repeated. Returns the list of what was removed.
    """

    @plainly
    def execute(self, context: Context) -> list[str]:
        endpoint = names.Stack(self.environment.project).endpoint
        gone = [*self.remove_endpoint(endpoint), *self._function(), *self._leftovers()]
        for each in gone:
            self.log.info("Removed the %s", each)
        if not gone:
            self.log.info("There was nothing to remove")
        return gone

    def _function(self) -> Iterator[str]:
        """The function with its versions, alias and concurrency, and its log group, which costs storage."""
        name = names.Stack(self.environment.project).function
        client = self.hook.client("lambda")
        if found(lambda: client.get_function_configuration(FunctionName=name)) is None:
            return
        yield from self.remove_provisioned_concurrency(name, names.ALIAS)
        if removed(lambda: client.delete_function(FunctionName=name)):
            yield f"function {name}"
        if removed(lambda: self.hook.client("logs").delete_log_group(logGroupName=f"/aws/lambda/{name}")):
            yield f"log group /aws/lambda/{name}"

    def _leftovers(self) -> Iterator[str]:
        """Endpoint configurations and models of this project that a failed deployment left behind."""
        client: Any = self.hook.conn
        prefix = f"{self.environment.project}-endpoint-"
        for page in client.get_paginator("list_endpoint_configs").paginate(NameContains=prefix):
            for each in page["EndpointConfigs"]:
                if self._ours(each["EndpointConfigArn"]):
                    yield from self.hook.delete_endpoint_config(each["EndpointConfigName"])
        for page in client.get_paginator("list_models").paginate(NameContains=prefix):
            for each in page["Models"]:
                name = each["ModelName"]
                if self._ours(each["ModelArn"]) and removed(lambda name=name: client.delete_model(ModelName=name)):
                    yield f"model {name}"

    def _ours(self, arn: str) -> bool:
        tags = pairs(self.hook.conn.list_tags(ResourceArn=arn)["Tags"])
        return tags.get("project") == self.environment.project
