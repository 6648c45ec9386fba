"""Endpoints, their scaling and the function in front of them: created or updated, waited for, removed.

The Amazon provider has no operator that deletes an endpoint, none for Application Auto Scaling, and none for Lambda's
versions, aliases and concurrency.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from musher.hooks.aws import AwsHook
from musher.hooks.sagemaker_jobs import is_missing

UPDATE_TRIES = 5
# The states in which AWS lets nobody change or delete an endpoint.
CHANGING = {"Creating", "Updating", "SystemUpdating", "RollingBack"}


class ServingHook(AwsHook):
    """SageMaker endpoints; clients for the other two services come from the same connection."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["client_type"] = "sagemaker"
        super().__init__(*args, **kwargs)
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """A client of another service, the same one each time."""
        if service not in self._clients:
            hook = AwsHook(aws_conn_id=self.aws_conn_id, region_name=self.region_name, client_type=service)
            self._clients[service] = hook.get_conn()
        return self._clients[service]

    def describe_endpoint(self, name: str) -> dict[str, Any] | None:
        return found(lambda: self.conn.describe_endpoint(EndpointName=name))

    def instance_type(self, config_name: str) -> str:
        """What the instances of an endpoint configuration's first variant are."""
        config = self.conn.describe_endpoint_config(EndpointConfigName=config_name)
        return config["ProductionVariants"][0]["InstanceType"]

    def delete_endpoint(self, name: str) -> bool:
        """Delete an endpoint; whether there was one."""
        return removed(lambda: self.conn.delete_endpoint(EndpointName=name))

    def settled_endpoint(
        self, name: str, poll_seconds: float, limit_seconds: float, what: str = ""
    ) -> Mapping[str, Any] | None:
        """Wait until nobody changes an endpoint any more; its description then, None when it is gone.

        Raises TimeoutError, naming `what` was waited for, when it goes on changing.
        """
        return wait_until(
            lambda: self.describe_endpoint(name),
            lambda state: state is None or state["EndpointStatus"] not in CHANGING,
            what=what or f"the end of the change of the endpoint {name}",
            poll_seconds=poll_seconds,
            limit_seconds=limit_seconds,
        )

    def update_settled_endpoint(self, request: Mapping[str, Any], poll_seconds: float, limit_seconds: float) -> None:
        """UpdateEndpoint, and where auto-scaling is changing the endpoint just then, again once that has ended.

        Raises what AWS answers: the last time as well where somebody was quicker each time.
        """
        for tries_left in reversed(range(UPDATE_TRIES)):
            try:
                self.conn.update_endpoint(**request)
                return
            except ClientError as error:
                if not is_being_changed(error) or not tries_left:
                    raise
            self.settled_endpoint(request["EndpointName"], poll_seconds, limit_seconds)

    def delete_settled_endpoint(self, name: str, poll_seconds: float, limit_seconds: float = 1800) -> bool:
        """Delete an endpoint once it has stopped changing, before which AWS refuses to; whether there was one.

        One that is being deleted already is left to that, since AWS refuses a second time.
        Raises TimeoutError when it goes on changing.
        """
        settled = self.settled_endpoint(name, poll_seconds, limit_seconds)
        if settled is None or settled["EndpointStatus"] == "Deleting":
            return False
        return self.delete_endpoint(name)

    def delete_endpoint_config(self, name: str) -> list[str]:
        """Delete an endpoint configuration and the models that it names; what was deleted."""
        config = found(lambda: self.conn.describe_endpoint_config(EndpointConfigName=name))
        if config is None:
            return []
        gone = []
        if removed(lambda: self.conn.delete_endpoint_config(EndpointConfigName=name)):
            gone.append(f"endpoint configuration {name}")
        for model in {variant["ModelName"] for variant in config["ProductionVariants"]}:
            if removed(lambda model=model: self.conn.delete_model(ModelName=model)):
                gone.append(f"model {model}")
        return gone


def is_being_changed(error: ClientError) -> bool:
    """Whether an update was refused because somebody was quicker: AWS has one code for all refusals, and says 'Cannot
    update in-progress endpoint'."""
    return "in-progress" in error.response["Error"]["Message"]


def found(describe: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """What a describe call answers, None when the thing does not exist."""
    try:
        return describe()
    except ClientError as error:
        if is_missing(error):
            return None
        raise


def removed(delete: Callable[[], Any]) -> bool:
    """Run a delete call; False when there was nothing to delete."""
    try:
        delete()
    except ClientError as error:
        if is_missing(error):
            return False
        raise
    return True


def wait_until(
    describe: Callable[[], Mapping[str, Any] | None],
    done: Callable[[Mapping[str, Any] | None], bool],
    *,
    what: str,
    poll_seconds: float,
    limit_seconds: float,
) -> Mapping[str, Any] | None:
    """Poll `describe` until `done` says so; for the short waits only, long ones are deferred.

    Raises TimeoutError naming what was waited for.
    """
    deadline = time.monotonic() + limit_seconds
    while True:
        state = describe()
        if done(state):
            return state
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {limit_seconds:g} seconds")
        time.sleep(poll_seconds)


def metric_sum(
    cloudwatch: Any, namespace: str, metric: str, dimensions: Mapping[str, str], start: Any, end: Any, period: int = 60
) -> float:
    """The sum of a metric over [start, end), in periods of `period` seconds."""
    query = {
        "Id": "total",
        "MetricStat": {
            "Metric": {
                "Namespace": namespace,
                "MetricName": metric,
                "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
            },
            "Period": period,
            "Stat": "Sum",
        },
    }
    pages = cloudwatch.get_paginator("get_metric_data").paginate(
        MetricDataQueries=[query], StartTime=start, EndTime=end
    )
    return sum(value for page in pages for result in page["MetricDataResults"] for value in result["Values"])


def pairs(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """SageMaker's list of tags as a dict."""
    return {tag["Key"]: tag["Value"] for tag in tags}
