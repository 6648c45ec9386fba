"""EC2's instances: on demand and Spot, as real hosts. Moto keeps every record and answers DescribeInstances from it."""

from __future__ import annotations

import base64
import datetime as dt
import shutil
import threading
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_aws import quotas
from local_aws.aws import ASKS_MOTO, OWN_ACCESS_KEY, LocalAws
from local_aws.ec2.instance import Ec2Instance, volume
from local_aws.ec2.launches import check_names, image_of, root_size
from local_aws.ec2.past import PastInstance
from local_aws.ec2.record import CHANGES, Record
from local_aws.ec2.requests import (
    check_ids,
    check_instance_type,
    refuse_dry_run,
    required,
    spot_options,
    unsupported,
    user_data_of,
)
from local_aws.ec2.spot import Capacity, SpotRequest
from local_aws.errors import AwsError
from local_aws.services import ec2_tags
from local_aws.services.base import FORWARD, RESTARTED, Call, Service


class Ec2(Service):
    name = "ec2"

    def __init__(self, aws: LocalAws) -> None:
        super().__init__(aws)
        self.capacity = Capacity()
        self.instances: dict[str, PastInstance] = {}
        self.requests: dict[str, SpotRequest] = {}
        self._launches: dict[str, tuple[dict[str, Any], list[str]]] = {}
        self.lock = threading.RLock()

    def locks(self) -> list[threading.RLock]:
        return [CHANGES]

    def remember(self) -> dict[str, Any]:
        with self.lock:
            instances = list(self.instances.values())
            requests, launches = dict(self.requests), dict(self._launches)
        return {
            "instances": [each.remember() for each in instances],
            "requests": requests,
            "launches": launches,
            "capacity": self.capacity.limits(),
        }

    def restore(self, kept: dict[str, Any], saved_at: dt.datetime) -> None:
        self.requests, self._launches = kept["requests"], kept["launches"]
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
        with self.lock:
            return [each for each in self.instances.values() if each.record.state in {"running", "shutting-down"}]

    # Operations

    def run_instances(self, call: Call) -> dict[str, Any]:
        if _is_for_moto(call):
            # Asked below: moto makes the record.
            return FORWARD
        if call.region != self.aws.region:
            raise unsupported(f"start instances in {call.region}: they live in {self.aws.region} alone")
        request = call.params
        token = request.get("ClientToken")
        with self.lock:
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
        instance = self._instance(required(call, "InstanceId"))
        text, at = instance.console()
        output = base64.b64encode(text.encode()).decode()
        return {"InstanceId": instance.id, "Output": output, "Timestamp": at}

    def interrupt(self, name: str) -> str | None:
        with self.lock:
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
        spot = spot_options(request)
        for each in request.get("TagSpecifications") or ():
            ec2_tags.check(each.get("Tags") or ())
        request["ImageId"] = image_of(self._ask, call)
        check_instance_type(request.get("InstanceType", "m1.small"))
        check_names(self._ask, request)
        user_data = user_data_of(request)
        if user_data is not None:
            # The client that asks moto encodes it anew.
            request["UserData"] = user_data
        if mappings := request.get("BlockDeviceMappings"):
            # AWS: without a size a volume is as large as its snapshot. Moto takes none without one.
            size = {"VolumeSize": root_size(self._ask, request["ImageId"])}
            request["BlockDeviceMappings"] = [
                {**each, "Ebs": {**size, **each["Ebs"]}} if "Ebs" in each else each for each in mappings
            ]
        least, most = required(call, "MinCount"), required(call, "MaxCount")
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
            self.requests[spot_request.id] = spot_request
            record.is_spot(spot_request.id)
        self.instances[record.id] = instance = self._hosted(record, reservation, spot_request)
        instance.launch()
        return record.id

    def _hosted(self, record: Record, reservation: str, spot: SpotRequest | None) -> Ec2Instance:
        return Ec2Instance(self.aws, record, reservation, spot=spot, peers=self.running, on_end=self._ended)

    def _ended(self, instance: PastInstance) -> None:
        if instance.spot and not instance.interrupted:
            self.capacity.give_back(instance.record.instance_type)

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
        with self.lock:
            if instance_id in self.instances:
                return self.instances[instance_id]
        raise AwsError("InvalidInstanceID.NotFound", f"The instance ID '{instance_id}' does not exist")

    def named(self, call: Call) -> list[PastInstance]:
        """The instances that a call names. Raises AwsError for what is none."""
        return [self._instance(each) for each in required(call, "InstanceIds")]


def _is_for_moto(call: Call) -> bool:
    """Whether this service itself asks, for moto's record."""
    return call.access_key == OWN_ACCESS_KEY and ASKS_MOTO in call.headers.get("user-agent", "")
