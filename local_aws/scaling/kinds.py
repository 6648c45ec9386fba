"""What can be scaled: what Application Auto Scaling has to know of a kind of scalable target, and nothing more."""

from __future__ import annotations

import abc
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from local_aws.errors import validation

if TYPE_CHECKING:
    from local_aws.aws import LocalAws


class Metric(NamedTuple):
    """A predefined metric, as CloudWatch has it."""

    namespace: str
    name: str
    statistic: str
    period: int
    """AWS seconds."""
    is_sum: bool
    """Whether it is a sum over the period."""


class State(NamedTuple):
    """How a resource is just now."""

    changing: bool
    """Whether what was asked of it last is still under way."""
    failure: str
    """Why what was asked of it last failed; "" when it did not."""
    capacity: int | None
    """What it has been asked to have; None where it cannot be scaled at the moment."""


class Scalable(abc.ABC):
    """A kind of resource that scales."""

    namespace: ClassVar[str]
    dimension: ClassVar[str]
    form: ClassVar[str]
    """What a resource's id looks like, for whoever gives another one."""
    pattern: ClassVar[re.Pattern[str]]
    what: ClassVar[str]
    """One of them in a sentence."""
    capacity: ClassVar[str]
    """How activities call what is scaled."""
    lowest: ClassVar[int]
    """The smallest MinCapacity."""
    cooldown: ClassVar[int]
    """AWS seconds of a cool-down that a policy does not set."""
    has_steps: ClassVar[bool]
    service: ClassVar[str]
    """How the message of an activity that failed calls the service."""
    metrics: ClassVar[dict[str, Metric]]

    def __init__(self, aws: LocalAws) -> None:
        self.aws = aws

    @abc.abstractmethod
    def check(self, resource: str) -> None:
        """Raise AwsError for a resource that is not there, or that cannot be scaled."""

    @abc.abstractmethod
    def state(self, resource: str) -> State | None:
        """How it is; None for one that is gone."""

    @abc.abstractmethod
    def scale(self, resource: str, desired: int) -> None:
        """Ask for another capacity. Raises AwsError as the service's own operation does."""

    @abc.abstractmethod
    def dimensions(self, resource: str) -> dict[str, str]:
        """Of its predefined metrics."""

    def watch(self, registered: Callable[[], Iterable[str]]) -> None:  # noqa: B027 - a kind may watch nothing
        """Called once, before the first request: `registered` gives the resources of this kind that are scaled."""

    def metric(self, resource: str, settings: dict[str, Any]) -> dict[str, Any]:
        """The settings of an alarm on what a target-tracking policy tracks; `sum`: whether it is one over the period.

        Raises AwsError for a metric that this kind has not, and for a specification of neither kind.
        """
        if predefined := settings.get("PredefinedMetricSpecification"):
            kind = predefined["PredefinedMetricType"]
            if kind not in self.metrics:
                raise validation(f"The metric {kind} is not one of {self.what}: it must be {', '.join(self.metrics)}.")
            found = self.metrics[kind]
            return {
                "Namespace": found.namespace, "MetricName": found.name, "Statistic": found.statistic,
                "Period": found.period, "sum": found.is_sum,
                "Dimensions": [{"Name": name, "Value": value} for name, value in self.dimensions(resource).items()],
            }  # fmt: skip
        custom = settings.get("CustomizedMetricSpecification") or {}
        if not custom.get("MetricName") or not custom.get("Namespace") or not custom.get("Statistic"):
            raise validation(
                "The policy must have a PredefinedMetricSpecification, or a CustomizedMetricSpecification with "
                "Namespace, MetricName and Statistic."
            )
        return {
            "Namespace": custom["Namespace"], "MetricName": custom["MetricName"], "Statistic": custom["Statistic"],
            "Period": custom.get("Period", 60), "Dimensions": custom.get("Dimensions") or [],
            "sum": custom["Statistic"] in ("Sum", "SampleCount"),
        }  # fmt: skip
