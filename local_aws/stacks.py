"""Teaches moto's CloudFormation not to make what lives here: it would say CREATE_COMPLETE of records of its own.

A template with such a resource is refused by name before anything of it is made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moto.cloudformation.parsing import ResourceMap

OURS = re.compile(
    r"AWS::(Lambda::(?!Layer)\w+|ApplicationAutoScaling::\w+|CloudWatch::(Alarm|CompositeAlarm|AnomalyDetector)"
    r"|SageMaker::Endpoint|EC2::(Instance|SpotFleet|EC2Fleet))"
)


def teach_moto() -> None:
    """Refuse templates with resources of ours when a stack is made or changed.

    To be called before CloudFormation is: moto's imports twenty other services, which a start should not wait for.
    """
    from moto.cloudformation.parsing import ResourceMap

    load, update = ResourceMap.load, ResourceMap.update
    if load.__module__ == __name__:
        return

    def checked_load(self: ResourceMap) -> None:
        load(self)
        _check(self._resource_json_map, self.lazy_condition_map)

    def checked_update(self: ResourceMap, template: dict[str, Any], parameters: dict[str, Any] | None = None) -> None:
        _check(template.get("Resources") or {}, self.lazy_condition_map)
        update(self, template, parameters)

    ResourceMap.load, ResourceMap.update = checked_load, checked_update  # type: ignore[method-assign]


def _check(resources: Mapping[str, Any], conditions: Mapping[str, Any]) -> None:
    from moto.cloudformation.exceptions import ValidationError

    for name, resource in resources.items():
        if resource.get("Condition") in conditions and not conditions[resource["Condition"]]:
            continue
        if OURS.fullmatch(str(resource.get("Type"))):
            raise ValidationError(
                message=f"The local AWS's CloudFormation does not make {resource['Type']} ({name}): make it by its "
                "service's own operations."
            )
