"""EC2's operations on requests of Spot instances."""

from __future__ import annotations

from typing import Any

from local_aws.ec2.requests import required
from local_aws.ec2.spot import SpotRequest
from local_aws.errors import AwsError
from local_aws.services.base import Call, Service, page
from local_aws.services.ec2 import Ec2


class Ec2Spot(Service):
    name = "ec2"

    @property
    def _instances(self) -> Ec2:
        return self.aws.service(Ec2)

    def describe_spot_instance_requests(self, call: Call) -> dict[str, Any]:
        wanted = call.params.get("SpotInstanceRequestIds") or []
        self._known_requests(wanted)
        filters = call.params.get("Filters") or []
        with self._instances.lock:
            requests = [each for each in self._instances.requests.values() if not wanted or each.id in wanted]
        found = [each.describe() for each in requests if each.passes(filters)]
        return page(found, call, key="SpotInstanceRequests", default=1000)

    def cancel_spot_instance_requests(self, call: Call) -> dict[str, Any]:
        wanted = required(call, "SpotInstanceRequestIds")
        for request in self._known_requests(wanted):
            if request.state == "active":
                request.enter("request-canceled-and-instance-running", "cancelled")
        return {
            "CancelledSpotInstanceRequests": [
                {"SpotInstanceRequestId": each, "State": self._instances.requests[each].state} for each in wanted
            ]
        }

    def _known_requests(self, ids: list[str]) -> list[SpotRequest]:
        with self._instances.lock:
            for each in ids:
                if each not in self._instances.requests:
                    raise AwsError(
                        "InvalidSpotInstanceRequestID.NotFound", f"The spot instance request ID '{each}' does not exist"
                    )
            return [self._instances.requests[each] for each in ids]
