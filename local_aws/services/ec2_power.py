"""EC2: instances stopped, started and rebooted, and what Spot capacity costs."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from local_aws.ec2 import prices
from local_aws.ec2.past import PastInstance
from local_aws.ec2.requests import check_instance_type, refuse_dry_run
from local_aws.errors import AwsError
from local_aws.services.base import Call, Service, page
from local_aws.services.ec2 import Ec2

MAY_BE = {
    "stopped": {"running", "stopping", "stopped"},
    "started": {"stopped", "pending", "running"},
    "rebooted": {"running", "shutting-down", "terminated"},
}
# DescribeSpotPriceHistory's filters, and the members that say the same.
FILTERS = {
    "availability-zone": "AvailabilityZone", "availability-zone-id": "AvailabilityZoneId",
    "instance-type": "InstanceType", "product-description": "ProductDescription", "spot-price": "SpotPrice",
}  # fmt: skip
MEMBERS = {
    "AvailabilityZone": "availability-zone", "AvailabilityZoneId": "availability-zone-id",
    "InstanceTypes": "instance-type", "ProductDescriptions": "product-description",
}  # fmt: skip


class Ec2Power(Service):
    """Instances are backed by EBS, as all images here are: one that is stopped keeps its disk."""

    name = "ec2"

    @property
    def ec2(self) -> Ec2:
        return self.aws.service(Ec2)

    def stop_instances(self, call: Call) -> dict[str, Any]:
        instances = self.ec2.named(call)
        for each in instances:
            if each.spot is not None:
                raise AwsError(
                    "UnsupportedOperation",
                    f"You can't stop the Spot Instance '{each.id}' because it is associated with a one-time Spot "
                    "Instance request. You can only stop Spot Instances associated with persistent Spot Instance "
                    "requests.",
                )
            if each.record.protected_from_stop:
                raise AwsError(
                    "OperationNotPermitted",
                    f"The instance '{each.id}' may not be stopped. Modify its 'disableApiStop' instance attribute and "
                    "try again.",
                )
        at_once = bool(call.params.get("Force") or call.params.get("SkipOsShutdown"))
        return self._each(call, instances, "stopped", "StoppingInstances", lambda each: each.power_off(at_once=at_once))

    def start_instances(self, call: Call) -> dict[str, Any]:
        instances = self.ec2.named(call)
        for each in instances:
            if each.record.state == "stopped":
                self.ec2.check_quota(each.record.instance_type, spot=False, count=1)
        return self._each(call, instances, "started", "StartingInstances", lambda each: each.power_on())

    def reboot_instances(self, call: Call) -> None:
        self._each(call, self.ec2.named(call), "rebooted", "", lambda each: each.reboot())

    @staticmethod
    def _each(
        call: Call, instances: list[PastInstance], what: str, key: str, act: Callable[[PastInstance], None]
    ) -> dict[str, Any]:
        """Do it to all of them, or to none where one of them is in no state for it."""
        for each in instances:
            if each.record.state not in MAY_BE[what]:
                raise each.cannot_be(what)
        refuse_dry_run(call)
        changes = []
        for each in instances:
            before = each.record.described_state
            act(each)
            after = each.record.described_state
            changes.append({"InstanceId": each.id, "PreviousState": before, "CurrentState": after})
        return {key: changes}

    # What Spot capacity costs

    def describe_spot_price_history(self, call: Call) -> dict[str, Any]:
        """One price a type and zone: the one that is in force from before the time that is asked for."""
        refuse_dry_run(call)
        params = call.params
        if params.get("AvailabilityZone") and params.get("AvailabilityZoneId"):
            raise AwsError("InvalidParameterCombination", "Give AvailabilityZone or AvailabilityZoneId, not both.")
        filters = {each["Name"]: each.get("Values") or [] for each in params.get("Filters") or ()}
        filters |= {name: wanted for member, name in MEMBERS.items() if (wanted := _several(params.get(member)))}
        for name in filters:
            if name not in FILTERS:
                raise AwsError("InvalidParameterValue", f"The filter '{name}' is invalid")
        types = [each for each in filters.get("instance-type", ()) if not {"*", "?"} & set(each)]
        for each in types:
            check_instance_type(each)
            if each not in prices.ON_DEMAND:
                known = ", ".join(sorted(prices.ON_DEMAND))
                message = f"The local AWS has no price of {each}: it has those of {known}."
                raise AwsError("UnsupportedOperation", message)
        if params.get("EndTime") and params["EndTime"] < (params.get("StartTime") or prices.SINCE):
            raise AwsError("InvalidParameterValue", "The EndTime is before the StartTime, or before any price here.")
        found = [
            {
                "AvailabilityZone": zone["ZoneName"],
                "AvailabilityZoneId": zone["ZoneId"],
                "InstanceType": each,
                "ProductDescription": prices.PRODUCT,
                "SpotPrice": prices.spot(each),
                "Timestamp": prices.SINCE,
            }
            for each in sorted(prices.ON_DEMAND)
            for zone in self.aws.client("ec2", call.region).describe_availability_zones()["AvailabilityZones"]
        ]
        return page([each for each in found if _passes(each, filters)], call, key="SpotPriceHistory", default=1000)


def _several(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value] if value else []


def _passes(price: dict[str, Any], filters: dict[str, list[str]]) -> bool:
    """Whether each filter has a value, with its wildcards, that a price fits."""
    return all(any(fnmatchcase(price[FILTERS[name]], each) for each in values) for name, values in filters.items())
