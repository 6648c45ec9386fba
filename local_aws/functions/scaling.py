"""The provisioned concurrency of functions as what Application Auto Scaling scales."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from local_aws.errors import AwsError, validation
from local_aws.functions.records import Function
from local_aws.scaling.kinds import Metric, Scalable, State

if TYPE_CHECKING:
    from local_aws.services.lambda_concurrency import LambdaConcurrency


class ProvisionedConcurrency(Scalable):
    """Source: Application Auto Scaling user guide, "AWS Lambda and Application Auto Scaling".

    What it sets is refused where PutProvisionedConcurrencyConfig would be: such an activity has failed, with the
    reason. Without a configuration the capacity is 0, and a target's first minute makes one of its minimum.
    """

    namespace, dimension = "lambda", "lambda:function:ProvisionedConcurrency"
    form, pattern = "function:NAME:ALIAS", re.compile(r"function:([a-zA-Z0-9_-]{1,64}):([a-zA-Z0-9_-]{1,128})")
    what, capacity, service = "a function's provisioned concurrency", "concurrency", "AWSLambda"
    # API reference, RegisterScalableTarget and PutScalingPolicy; user guide, "Define cooldown periods".
    lowest, cooldown, has_steps = 0, 0, False
    metrics = {
        "LambdaProvisionedConcurrencyUtilization": Metric(
            "AWS/Lambda", "ProvisionedConcurrencyUtilization", "Average", 60, False
        ),
    }

    @property
    def _functions(self) -> LambdaConcurrency:
        from local_aws.services.lambda_concurrency import LambdaConcurrency

        return self.aws.service(LambdaConcurrency)

    def check(self, resource: str) -> None:
        if self._found(resource) is None:
            raise validation(f"Lambda function, version or alias doesn't exist: {resource}")

    def state(self, resource: str) -> State | None:
        found = self._found(resource)
        if found is None:
            return None
        place = self._functions.configuration(*found)
        if place is None:
            return State(changing=False, failure="", capacity=0)
        return State(place.status == "IN_PROGRESS", place.reason, place.requested)

    def scale(self, resource: str, desired: int) -> None:
        found = self._found(resource)
        if found is None:
            return  # deleted since its state was looked at
        function, qualifier = found
        if desired:
            self._functions.provision(function, qualifier, desired)
        else:
            self._functions.unprovision(function, qualifier)

    def dimensions(self, resource: str) -> dict[str, str]:
        _, name, qualifier = resource.split(":")
        return {"FunctionName": name, "Resource": f"{name}:{qualifier}"}

    def _found(self, resource: str) -> tuple[Function, str] | None:
        """The function and the version or alias; None where one of them is not there."""
        _, name, qualifier = resource.split(":")
        try:
            function = self._functions.functions.find(name)
            function.version(qualifier)
        except AwsError:
            return None
        return function, qualifier
