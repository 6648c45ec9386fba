"""EC2's instances: on demand and Spot, as real hosts. Moto keeps every record and answers DescribeInstances from it."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import functools
import re
import shutil
import threading
from collections.abc import Iterable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_aws import quotas
from local_aws.aws import ASKS_MOTO, OWN_ACCESS_KEY, LocalAws
from local_aws.ec2 import images
from local_aws.ec2.instance import Ec2Instance, volume
from local_aws.ec2.past import PastInstance
from local_aws.ec2.record import CHANGES, Record
from local_aws.ec2.spot import Capacity, SpotRequest
from local_aws.errors import AwsError
from local_aws.services import ec2_tags
from local_aws.services.base import FORWARD, RESTARTED, Call, Service, page

# AWS: EC2 user guide, "Resource IDs": 8 digits in older accounts, 17 in others.
INSTANCE_ID = re.compile(r"i-([0-9a-f]{8}|[0-9a-f]{17})")
LARGEST_USER_DATA = 16_384
RESOLVED_BY_SSM = "resolve:ssm:"


class Ec2(Service):
    name = "ec2"

    def __init__(self, aws: LocalAws) -> None:
        super().__init__(aws)
        self.capacity = Capacity()
        self.instances: dict[str, PastInstance] = {}
        self._requests: dict[str, SpotRequest] = {}
        self._launches: dict[str, tuple[dict[str, Any], list[str]]] = {}
        self._lock = threading.RLock()

    def locks(self) -> list[threading.RLock]:
        return [CHANGES]

    def remember(self) -> dict[str, Any]:
        with self._lock:
            instances = list(self.instances.values())
            requests, launches = dict(self._requests), dict(self._launches)
        return {
            "instances": [each.remember() for each in instances],
            "requests": requests,
            "launches": launches,
            "capacity": self.capacity.limits(),
        }

    def restore(self, kept: dict[str, Any], saved_at: dt.datetime) -> None:
        self._requests, self._launches = kept["requests"], kept["launches"]
        for instance_type, free in kept["capacity"].items():
            self.capacity.limit(instance_type, free)
        for each in kept["instances"]:
            record = Record(self.aws.account, each.region, each.id)
            stopped = record.state == "stopped" and volume(self.aws, each.id).exists()
            instance: PastInstance = (
                self._hosted(record, each.reservation_id, each.spot)
                if stopped
                else PastInstance(record, each.reservation_id, each.spot)
            )
            instance.recall(each)
            self.instances[each.id] = instance
            if not stopped and record.state != "terminated":
                instance.lose(RESTARTED)
                self._ended(instance)
        for disk in self.aws.settings.state.glob("volumes/*"):
            if disk.name not in self.instances or self.instances[disk.name].record.state != "stopped":
                shutil.rmtree(disk, ignore_errors=True)

    def running(self) -> list[PastInstance]:
        """The instances that run, or have one more shutdown to go."""
        with self._lock:
            return [each for each in self.instances.values() if each.record.state in {"running", "shutting-down"}]

    # Operations

    def run_instances(self, call: Call) -> dict[str, Any]:
        if _is_for_moto(call):
            # Asked below: moto makes the record.
            return FORWARD
        if call.region != self.aws.region:
            raise _unsupported(f"start instances in {call.region}: they live in {self.aws.region} alone")
        request = call.params
        token = request.get("ClientToken")
        with self._lock:
            launched = known = self._launches.get(token) if token else None
            if launched is None:
                launched = request, self._launch(call)
                if token:
                    self._launches[token] = launched
        if launched[0] != request:
            raise AwsError(
                "IdempotentParameterMismatch",
                "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
            )
        reservation = self._ask("describe_instances", InstanceIds=launched[1])["Reservations"][0]
        for instance_id in launched[1] if known is None else ():
            self.instances[instance_id].start()
        return reservation

    def terminate_instances(self, call: Call) -> dict[str, Any]:
        instances = self.named(call)
        for each in instances:
            if each.record.protected:
                raise AwsError(
                    "OperationNotPermitted",
                    f"The instance '{each.id}' may not be terminated. Modify its 'disableApiTermination' instance "
                    "attribute and try again.",
                )
        refuse_dry_run(call)
        answer = []
        for each in instances:
            before = each.record.described_state
            each.terminate()
            answer.append({"InstanceId": each.id, "PreviousState": before, "CurrentState": each.record.described_state})
        return {"TerminatingInstances": answer}

    def describe_instances(self, call: Call) -> dict[str, Any]:
        return self._described("describe_instances", call)

    def describe_instance_status(self, call: Call) -> dict[str, Any]:
        answer = self._described("describe_instance_status", call)
        if answer is FORWARD:
            return answer
        for status in answer["InstanceStatuses"]:
            instance = self.instances.get(status["InstanceId"])
            # A host passes its reachability check when it answers SSH, which is later than it runs.
            if instance and status["InstanceState"]["Name"] == "running" and not instance.reachable:
                initializing = {
                    "Status": "initializing",
                    "Details": [{"Name": "reachability", "Status": "initializing"}],
                }
                status |= {"InstanceStatus": initializing, "SystemStatus": initializing}
        return answer

    def get_console_output(self, call: Call) -> dict[str, Any]:
        instance = self._instance(_required(call, "InstanceId"))
        text, at = instance.console()
        output = base64.b64encode(text.encode()).decode()
        return {"InstanceId": instance.id, "Output": output, "Timestamp": at}

    def describe_spot_instance_requests(self, call: Call) -> dict[str, Any]:
        wanted = call.params.get("SpotInstanceRequestIds") or []
        self._known_requests(wanted)
        filters = call.params.get("Filters") or []
        with self._lock:
            requests = [each for each in self._requests.values() if not wanted or each.id in wanted]
        found = [each.describe() for each in requests if each.passes(filters)]
        return page(found, call, key="SpotInstanceRequests", default=1000)

    def cancel_spot_instance_requests(self, call: Call) -> dict[str, Any]:
        wanted = _required(call, "SpotInstanceRequestIds")
        for request in self._known_requests(wanted):
            if request.state == "active":
                request.enter("request-canceled-and-instance-running", "cancelled")
        return {
            "CancelledSpotInstanceRequests": [
                {"SpotInstanceRequestId": each, "State": self._requests[each].state} for each in wanted
            ]
        }

    def interrupt(self, name: str) -> str | None:
        with self._lock:
            instance = self.instances.get(name) or next(
                (each for each in self.instances.values() if each.spot and each.spot.id == name), None
            )
        if instance is None:
            return None
        seconds = instance.interrupt()
        return (
            f"{instance.id} has its interruption notice; it is taken away in {seconds:g} s, which are two AWS minutes."
        )

    # A launch

    def _launch(self, call: Call) -> list[str]:
        """Make records and instances of a launch; their ids. Raises AwsError for what AWS refuses."""
        request = dict(call.params)
        spot = _spot_options(request)
        for each in request.get("TagSpecifications") or ():
            ec2_tags.check(each.get("Tags") or ())
        request["ImageId"] = self._image(call)
        check_instance_type(request.get("InstanceType", "m1.small"))
        self._check_names(request)
        user_data = _user_data(request)
        if user_data is not None:
            # The client that asks moto encodes it anew.
            request["UserData"] = user_data
        if mappings := request.get("BlockDeviceMappings"):
            # AWS: without a size a volume is as large as its snapshot. Moto takes none without one.
            size = {"VolumeSize": self._root_size(request["ImageId"])}
            request["BlockDeviceMappings"] = [
                {**each, "Ebs": {**size, **each["Ebs"]}} if "Ebs" in each else each for each in mappings
            ]
        least, most = _required(call, "MinCount"), _required(call, "MaxCount")
        if not 1 <= least <= most:
            raise AwsError("InvalidParameterValue", f"Invalid value '{least}' for minCount.")
        instance_type = request.setdefault("InstanceType", "m1.small")
        self.check_quota(instance_type, spot is not None, least)
        count = most if spot is None or request.get("DryRun") else self.capacity.take(instance_type, least, most)
        request |= {"MinCount": count, "MaxCount": count}
        made = []
        # Moto's instances run from the first: nobody may see them before they are pending.
        with CHANGES:
            try:
                reservation = self._ask("run_instances", **request)
            except AwsError:
                if spot is not None:
                    self.capacity.give_back(instance_type, count)
                raise
            for described in reservation["Instances"]:
                record = Record(call.account, call.region, described["InstanceId"])
                if request.get("IamInstanceProfile"):
                    record.use_profile(request["IamInstanceProfile"])
                made.append(self._make(record, reservation["ReservationId"], request, spot))
        return made

    def check_quota(self, instance_type: str, spot: bool, count: int) -> None:
        """Whether the account may have so many more instances of a type. Raises AwsError."""
        bucket = quotas.ec2_name(instance_type, spot)
        used = sum(
            quotas.vcpus(each.record.instance_type)
            for each in list(self.instances.values())
            if each.record.state in {"pending", "running", "stopping", "shutting-down"}
            and quotas.ec2_name(each.record.instance_type, each.spot is not None) == bucket
        )
        self.aws.quotas.check_vcpus(instance_type, spot, used, count * quotas.vcpus(instance_type))

    def _make(self, record: Record, reservation: str, request: dict[str, Any], spot: dict[str, Any] | None) -> str:
        spot_request = None
        if spot is not None:
            spot_request = SpotRequest(
                record.id,
                {"InstanceType": record.instance_type, "ImageId": record.image_id},
                record.zone,
                spot.get("MaxPrice"),
                [
                    tag
                    for each in request.get("TagSpecifications") or ()
                    if each.get("ResourceType") == "spot-instances-request"
                    for tag in each.get("Tags") or ()
                ],
            )
            self._requests[spot_request.id] = spot_request
            record.is_spot(spot_request.id)
        self.instances[record.id] = instance = self._hosted(record, reservation, spot_request)
        instance.launch()
        return record.id

    def _hosted(self, record: Record, reservation: str, spot: SpotRequest | None) -> Ec2Instance:
        return Ec2Instance(self.aws, record, reservation, spot=spot, peers=self.running, on_end=self._ended)

    def _ended(self, instance: PastInstance) -> None:
        if instance.spot and not instance.interrupted:
            self.capacity.give_back(instance.record.instance_type)

    def _image(self, call: Call) -> str:
        if call.params.get("LaunchTemplate"):
            raise _unsupported("launch from a launch template: name image and instance type in RunInstances")
        image = _required(call, "ImageId")
        images.register(call.account, call.region)
        if image.startswith(RESOLVED_BY_SSM):
            found = self._ask("get_parameter", service="ssm", Name=image.removeprefix(RESOLVED_BY_SSM))
            image = found["Parameter"]["Value"]
        self._ask("describe_images", ImageIds=[image])
        return image

    def _root_size(self, image: str) -> int:
        """GiB of an image's own volume."""
        found = self._ask("describe_images", ImageIds=[image])["Images"][0].get("BlockDeviceMappings") or ()
        return next((each["Ebs"]["VolumeSize"] for each in found if each.get("Ebs", {}).get("VolumeSize")), 8)

    def _check_names(self, request: dict[str, Any]) -> None:
        """Raises AwsError for a key pair or an instance profile that does not exist; moto checks the other names."""
        if request.get("KeyName"):
            self._ask("describe_key_pairs", KeyNames=[request["KeyName"]])
        profile = request.get("IamInstanceProfile") or {}
        name = profile.get("Name") or profile.get("Arn", "").rsplit("/", 1)[-1]
        if profile:
            try:
                self.aws.client("iam").get_instance_profile(InstanceProfileName=name)
            except ClientError:
                kind = "Name" if profile.get("Name") else "Arn"
                shown = "name" if kind == "Name" else "ARN"
                raise AwsError(
                    "InvalidParameterValue",
                    f"Value ({profile[kind]}) for parameter iamInstanceProfile.{kind.lower()} is invalid. "
                    f"Invalid IAM Instance Profile {shown}",
                ) from None

    # What is there

    def _described(self, operation: str, call: Call) -> dict[str, Any]:
        """What moto says of its records while none of them changes; FORWARD for our own question."""
        if _is_for_moto(call) or call.region != self.aws.region:
            return FORWARD
        check_ids(call.params.get("InstanceIds") or ())
        with CHANGES:
            answer = self._ask(operation, **call.params)
        answer.pop("ResponseMetadata")
        return answer

    def _ask(self, operation: str, service: str = "ec2", **params: Any) -> dict[str, Any]:
        """Ask moto, or one of the other services, by way of the API. Raises AwsError with its refusal."""
        try:
            return getattr(self.aws.client(service, of_moto=True), operation)(**params)
        except ClientError as error:
            refusal = error.response["Error"]
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            raise AwsError(refusal["Code"], refusal["Message"], status=status) from error
        except BotoCoreError as error:
            raise AwsError("InvalidParameterValue", str(error)) from error

    def _instance(self, instance_id: str) -> PastInstance:
        check_ids([instance_id])
        with self._lock:
            if instance_id in self.instances:
                return self.instances[instance_id]
        raise AwsError("InvalidInstanceID.NotFound", f"The instance ID '{instance_id}' does not exist")

    def named(self, call: Call) -> list[PastInstance]:
        """The instances that a call names. Raises AwsError for what is none."""
        return [self._instance(each) for each in _required(call, "InstanceIds")]

    def _known_requests(self, ids: list[str]) -> list[SpotRequest]:
        with self._lock:
            for each in ids:
                if each not in self._requests:
                    raise AwsError(
                        "InvalidSpotInstanceRequestID.NotFound", f"The spot instance request ID '{each}' does not exist"
                    )
            return [self._requests[each] for each in ids]


@functools.cache
def _instance_types() -> frozenset[str]:
    from moto.core.utils import get_service_model

    return frozenset(get_service_model("ec2").shape_for("InstanceType").enum)


def _is_for_moto(call: Call) -> bool:
    """Whether this service itself asks, for moto's record."""
    return call.access_key == OWN_ACCESS_KEY and ASKS_MOTO in call.headers.get("user-agent", "")


def check_ids(ids: Iterable[str]) -> None:
    """Raises AwsError for what cannot be an instance's id."""
    for each in ids:
        if not INSTANCE_ID.fullmatch(each):
            raise AwsError("InvalidInstanceID.Malformed", f'Invalid id: "{each}"')


def check_instance_type(instance_type: str) -> None:
    """Raises AwsError for an instance type that AWS does not have."""
    if instance_type not in _instance_types():
        raise AwsError("InvalidParameterValue", f"Invalid value '{instance_type}' for InstanceType.")


def _spot_options(request: dict[str, Any]) -> dict[str, Any] | None:
    """SpotOptions of a Spot launch, None for one on demand. Raises AwsError for what is no one-time request."""
    market = request.get("InstanceMarketOptions") or {}
    kind = market.get("MarketType")
    if kind is None:
        return None
    if kind != "spot":
        raise _unsupported(f"launch into the market '{kind}': it has on-demand and Spot instances")
    options = market.get("SpotOptions") or {}
    if options.get("SpotInstanceType", "one-time") != "one-time":
        raise _unsupported("take persistent Spot requests: one-time requests only")
    behavior = options.get("InstanceInterruptionBehavior", "terminate")
    if behavior != "terminate":
        raise AwsError(
            "InvalidParameterCombination",
            f"The instance interruption behavior '{behavior}' is not supported for one-time Spot requests.",
        )
    return options


def _user_data(request: dict[str, Any]) -> bytes | None:
    encoded = request.get("UserData")
    if not encoded:
        return None
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise AwsError("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.") from None
    if len(data) > LARGEST_USER_DATA:
        raise AwsError("InvalidParameterValue", f"User data is limited to {LARGEST_USER_DATA} bytes")
    return data


def _required(call: Call, name: str) -> Any:
    value = call.params.get(name)
    if value is None:
        raise AwsError("MissingParameter", f"The request must contain the parameter {name}")
    return value


def refuse_dry_run(call: Call) -> None:
    """Raises AwsError when the call only asks whether it would have succeeded."""
    if call.params.get("DryRun"):
        raise AwsError("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", status=412)


def _unsupported(what: str) -> AwsError:
    return AwsError("UnsupportedOperation", f"The local AWS does not {what}.")
