"""Which kinds of resources stacks make by operations of their services, and which they refuse."""

from __future__ import annotations

import functools
import re

from local_aws.stacks.kinds import Kind

# Of services that are ours in part, what the local AWS does not have; custom resources would need a function that moto
# could call.
REFUSED = re.compile(
    r"AWS::Lambda::\w+|AWS::ApplicationAutoScaling::\w+|AWS::CloudWatch::(CompositeAlarm|AnomalyDetector|MetricStream)"
    r"|AWS::SageMaker::(NotebookInstance\w*|\w+JobDefinition|MonitoringSchedule|InferenceComponent|InferenceExperiment)"
    r"|AWS::EC2::(SpotFleet|EC2Fleet|LaunchTemplate)|AWS::CloudFormation::CustomResource|Custom::.+|AWS::Serverless::\w+"
)


@functools.cache
def _kinds() -> dict[str, Kind]:
    from local_aws.stacks import functions, identities, layers, network, records, sagemaker, storage, watching

    found = [
        each
        for module in (functions, layers, sagemaker, watching, storage, network, records, identities)
        for each in module.KINDS
    ]
    return {each.type: each for each in found}


def kind(name: str) -> Kind | None:
    """How a kind of resource is made by its service's operations; None for one that is not."""
    return _kinds().get(name)


def names() -> list[str]:
    """All of these kinds."""
    return sorted(_kinds())


def refused(name: str) -> bool:
    """Whether a kind of resource is refused, rather than made by moto or left out."""
    return name not in _kinds() and REFUSED.fullmatch(name) is not None
