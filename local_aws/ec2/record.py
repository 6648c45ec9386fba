"""What moto keeps of an instance, and the few fields of it that follow its life.

The only place that knows moto's EC2 models: an instance's `_state`, `_reason`, `state_reason` and network interface.
"""

from __future__ import annotations

import base64
import ipaddress
import threading
from collections.abc import Iterable
from typing import Any

STATE_CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}

CHANGES = threading.RLock()
"""Held while records change, and while they are read for a client: moto changes them field by field.

Whoever holds it may ask moto, and must not wait for an instance's lock: that one is taken first.
"""


def backend(account: str, region: str) -> Any:
    """Moto's EC2 of a region. The first call imports it, and takes a second."""
    from moto.ec2.models import ec2_backends

    return ec2_backends[account][region]


class Record:
    """Moto's record of one instance."""

    def __init__(self, account: str, region: str, instance_id: str) -> None:
        self._backend = backend(account, region)
        self._instance = self._backend.get_instance(instance_id)
        self.id = instance_id
        self.image_id: str = self._instance.image_id
        self.launch_index: int = self._instance.ami_launch_index
        self.zone: str = self._instance.placement.zone

    @property
    def instance_type(self) -> str:
        return self._instance.instance_type

    @property
    def shutdown_behavior(self) -> str:
        """What a shutdown from inside does: "stop" or "terminate"."""
        return self._instance.instance_initiated_shutdown_behavior

    @property
    def protected(self) -> bool:
        """Whether TerminateInstances is refused (DisableApiTermination)."""
        return bool(self._instance.disable_api_termination)

    @property
    def protected_from_stop(self) -> bool:
        """Whether StopInstances is refused (DisableApiStop)."""
        return bool(self._instance.disable_api_stop)

    @property
    def state(self) -> str:
        with CHANGES:
            return self._instance.state

    @property
    def described_state(self) -> dict[str, Any]:
        """Its state as TerminateInstances answers it."""
        return {"Name": self.state, "Code": STATE_CODES[self.state]}

    def take_address(self, address: str) -> None:
        """Make a loopback address the private one, and the public one where the launch asked for one."""
        self._is_private(address)
        if self._instance.nics[0].public_ip:
            self._instance.nics[0].public_ip = address

    def start_again(self, address: str, public: str) -> None:
        """Launch it anew, with its private address and, where the launch asked for one, another public one."""
        from moto.core.utils import utcnow

        with CHANGES:
            self._is_private(address)
            if self._instance.nics[0].public_ip_auto_assign:
                self._instance.nics[0].public_ip = public
            self._instance.launch_time = utcnow()
            self.enter("pending")

    def _is_private(self, address: str) -> None:
        interface = self._instance.nics[0]
        interface.private_ip_address = address
        interface.private_ip_addresses = [{"Primary": True, "PrivateIpAddress": address}]
        interface.private_dns_name = self._instance.private_dns_name

    @property
    def address(self) -> str:
        """The private one."""
        return self._instance.private_ip

    @property
    def host_name(self) -> str:
        return self._instance.private_dns_name

    @property
    def public_address(self) -> str | None:
        return self._instance.public_ip

    def is_spot(self, request_id: str) -> None:
        """Make it a Spot instance of this request."""
        self._instance.lifecycle = "spot"
        self._instance.spot_instance_request_id = request_id

    def use_profile(self, profile: dict[str, str]) -> None:
        """Give it an instance profile (`{"Name": ...}` or `{"Arn": ...}`): moto does so for the first of several."""
        if not self._instance.iam_instance_profile:
            self._backend.associate_iam_instance_profile(
                self.id, iam_instance_profile_name=profile.get("Name"), iam_instance_profile_arn=profile.get("Arn")
            )

    @property
    def profile_name(self) -> str | None:
        profile = self._instance.iam_instance_profile
        return profile["Arn"].rsplit("/", 1)[-1] if profile else None

    @property
    def user_data(self) -> bytes | None:
        encoded = self._instance.user_data
        return base64.b64decode(str(encoded)) if encoded else None

    @property
    def public_key(self) -> str | None:
        """The public half of the key pair it was launched with, if there is one."""
        name = self._instance.key_name
        pairs = [pair for pair in self._backend.key_pairs.values() if pair.key_name == name]
        return pairs[0].public_key.strip() if pairs else None

    @property
    def security_groups(self) -> list[str]:
        """The names of its security groups."""
        return sorted(group.name for group in self._groups())

    def enter(self, state: str, *, reason: str = "", code: str = "", message: str = "") -> None:
        """Change its state; `reason` is StateTransitionReason, `code` and `message` are StateReason."""
        from moto.ec2.models.instances import InstanceState, StateReason

        with CHANGES:
            if state == "terminated":
                self._instance.terminate()
            elif state == "stopped":
                self._instance.stop()
            self._instance._state = InstanceState(state, STATE_CODES[state])
            self._instance._reason = reason
            self._instance.state_reason = StateReason(f"{code}: {message}" if code else "", code)

    def admits(self, address: str, port: int, peers: Iterable[Record]) -> bool:
        """Whether an ingress rule of its security groups lets TCP from an address in; `peers` are running instances.

        AWS: EC2 user guide, "Security group rules". A group without a rule admits nobody.
        """
        source = ipaddress.ip_address(address)
        peer_groups = {group.id for each in peers if each._instance.private_ip == address for group in each._groups()}
        for rule in [rule for group in self._groups() for rule in group.ingress_rules]:
            if rule.ip_protocol not in {"-1", "tcp"}:
                continue
            # From -1 to -1 is every port, as is -1 for the protocol.
            if rule.ip_protocol == "tcp" and rule.from_port != -1 and not rule.from_port <= port <= rule.to_port:
                continue
            if rule.cidr_ipv4 and source in ipaddress.ip_network(rule.cidr_ipv4, strict=False):
                return True
            if rule.source_group.get("GroupId") in peer_groups:
                return True
        return False

    def _groups(self) -> list[Any]:
        return [group for interface in self._instance.nics.values() for group in interface.group_set]
