"""Back to zero cost: everything that deployment made is removed, and listed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from musher import names
from musher.hooks import scaling
from musher.hooks.alarms import alarms_on
from musher.hooks.deployment_lock import DeploymentLock
from musher.hooks.function import LiveFunction
from musher.hooks.serving import ServingHook, found, pairs, removed, wait_until
from musher.operators.base import MusherOperator, StackOperator, plainly, run_of

if TYPE_CHECKING:
    from airflow.sdk import Context

LIMIT_SECONDS = 1800


class RemovalOperator(MusherOperator):
    """Base of the operators that remove what costs money; what is gone already is no error."""

    aws_hook_class = ServingHook

    def remove_endpoint(self, endpoint: str) -> Iterator[str]:
        """Remove an endpoint with its scalable target, configuration and models; yields what was removed."""
        if scaling.deregister(self.hook.client("application-autoscaling"), endpoint):
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

    def remove_function(self, name: str) -> Iterator[str]:
        """Remove a function with its versions, alias and concurrency, and its log group, which costs storage.

        What serves keeps its log group: that is the stack's, which could not change its retention any more once it had
        gone. The retention empties it.
        """
        client = self.hook.client("lambda")
        if found(lambda: client.get_function_configuration(FunctionName=name)) is not None:
            function = LiveFunction(client, name, poll_seconds=self.environment.poll_seconds, log=self.log)
            for qualifier in function.provisioned():
                yield from self.remove_provisioned_concurrency(name, qualifier)
            if removed(lambda: client.delete_function(FunctionName=name)):
                yield f"function {name}"
        if name == names.Stack(self.environment.project).function:
            return
        if removed(lambda: self.hook.client("logs").delete_log_group(logGroupName=f"/aws/lambda/{name}")):
            yield f"log group /aws/lambda/{name}"

    def remove_alarms(self, endpoint: str, *, with_scaling: bool = False) -> Iterator[str]:
        """Remove the alarms on an endpoint that are ours: those on what serves, and what a broken release left.

        Parameters: `with_scaling` those of auto-scaling too, which otherwise go with the scalable target.
        """
        client: Any = self.hook.client("cloudwatch")
        for alarm in alarms_on(client, endpoint, with_scaling=with_scaling):
            if removed(lambda alarm=alarm: client.delete_alarms(AlarmNames=[alarm])):
                yield f"alarm {alarm}"

    def remove_stack(self, stack: names.Stack) -> Iterator[str]:
        """Remove everything of a stack, in whatever state a deployment left it."""
        yield from self.remove_alarms(stack.endpoint)  # before there is anything to be alarmed about
        yield from self.remove_endpoint(stack.endpoint)
        yield from self.remove_function(stack.function)
        yield from self._leftovers(stack.step)

    def remove_comparison(self) -> Iterator[str]:
        """Remove the endpoint on which two models were compared, in whatever state that was left."""
        yield from self.remove_endpoint(names.comparison_endpoint(self.environment.project))
        yield from self._leftovers(names.COMPARE_MODELS)

    def _leftovers(self, step: names.Step) -> Iterator[str]:
        """Endpoint configurations and models of this project that earlier runs, or failed ones, left behind."""
        client: Any = self.hook.conn
        prefix = f"{self.environment.project}-{step.name}-"
        for page in client.get_paginator("list_endpoint_configs").paginate(NameContains=prefix):
            for each in page["EndpointConfigs"]:
                name = each["EndpointConfigName"]
                if name.startswith(prefix) and self._ours(each["EndpointConfigArn"]):
                    yield from self.hook.delete_endpoint_config(name)
        for page in client.get_paginator("list_models").paginate(NameContains=prefix):
            for each in page["Models"]:
                name = each["ModelName"]
                if not (name.startswith(prefix) and self._ours(each["ModelArn"])):
                    continue
                if removed(lambda name=name: client.delete_model(ModelName=name)):
                    yield f"model {name}"

    def _remove(self, removals: Iterable[str]) -> list[str]:
        """Carry out removals; the list of what was removed."""
        gone = []
        for each in removals:
            self.log.info("Removed the %s", each)
            gone.append(each)
        if not gone:
            self.log.info("There was nothing to remove")
        return gone

    def _ours(self, arn: str) -> bool:
        tags = pairs(self.hook.conn.list_tags(ResourceArn=arn)["Tags"])
        return tags.get("project") == self.environment.project


class RemoveDeploymentOperator(StackOperator, RemovalOperator):
    """Remove scalable target, endpoint, its configurations and models, and the function; registered models stay.

    Parameters: `stack` "rehearsal" for a rehearsal's only; with what serves go a rehearsal of it and a comparison as
    well. Can be repeated. Returns the list of what was removed. What serves is removed under the lock of the
    deployment.
    """

    template_fields = aws_template_fields("stack")

    @plainly
    def execute(self, context: Context) -> list[str]:
        rehearsal = names.Stack(self.environment.project, rehearsal=True)
        if self.named.rehearsal:  # a deployment's own task, whose run has the lock
            return self._remove(self.remove_stack(rehearsal))
        with DeploymentLock(self.client("s3"), self.environment.bucket, run_of(context)).held():
            everything = (self.remove_comparison(), self.remove_stack(rehearsal), self.remove_stack(self.named))
            return self._remove(itertools.chain(*everything))
