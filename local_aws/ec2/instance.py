"""One EC2 instance: its states, its host and its disk, its console, who may log in and what its metadata says."""

from __future__ import annotations

import datetime as dt
import json
import logging
import shutil
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_aws import instance_types
from local_aws.addresses import refused_port
from local_aws.clock import Clock
from local_aws.ec2.credentials import profile_role, role_credentials
from local_aws.ec2.metadata import MetadataService
from local_aws.ec2.past import USER, InstanceRecord, PastInstance, transition
from local_aws.ec2.record import Record
from local_aws.ec2.spot import NOTICE_SECONDS, SpotRequest
from local_aws.environments import pip_variables
from local_aws.errors import AwsError
from local_aws.instances import NICENESS, Instance
from local_aws.processes.forks import Template

if TYPE_CHECKING:
    from local_aws.aws import LocalAws

log = logging.getLogger(__name__)

HOST = Path(__file__).with_name("host.py")
# What it imports: half a second of a core. ctypes is the supervisor's.
TEMPLATE = Template(sys.executable, ("asyncio", "asyncssh", "ctypes", "psutil", "pty", "urllib.request"))
# AWS keeps the last 64 KiB of a console.
CONSOLE_BYTES = 65_536
SSH_RULE_PORT = 22
MOST_ADDRESSES = 500
GRACE_SECONDS = 6.0
SSH_STARTED = "Started ssh.service"
INSIDE = ("Client.InstanceInitiatedShutdown", "Instance initiated shutdown")
INTERRUPTED = ("Server.SpotInstanceTermination", "Spot instance termination")
BROKEN = ("Server.InternalError", "Internal error on launch")


class Ec2Instance(PastInstance):
    """An instance from RunInstances to its end. `peers` are the instances that run; `on_end` is called at the end."""

    def __init__(
        self,
        aws: LocalAws,
        record: Record,
        reservation_id: str,
        *,
        spot: SpotRequest | None,
        peers: Callable[[], list[Ec2Instance]],
        on_end: Callable[[Ec2Instance], None],
    ) -> None:
        super().__init__(record, reservation_id, spot)
        self.aws = aws
        self._peers = peers
        self._on_end = on_end
        self._console: deque[str] = deque()
        self._console_at = self.launched
        self._notice: dt.datetime | None = None
        self._ending: tuple[str, str] | None = None
        self._rebooting = False
        self._host: Instance | None = None
        self._metadata: MetadataService | None = None
        self._lock = threading.RLock()
        self._folder = aws.settings.state / "instances" / "ec2" / self.id
        self._volume = volume(aws, self.id)
        self.address = record.address

    def launch(self) -> None:
        """It is one that RunInstances has just made."""
        self.address = self._free_address()
        self.record.take_address(self.address)
        self.record.enter("pending")

    def recall(self, kept: InstanceRecord) -> None:
        super().recall(kept)
        self._console.append(self._said)
        self._console_at = self._said_at

    def _free_address(self) -> str:
        """An address on which the SSH port is free.

        Where there is only one address (macOS) it is that one, and the next host that boots there breaks.
        """
        for _ in range(MOST_ADDRESSES):
            address = self.aws.instances.address(self.aws.instances.reserve())
            if refused_port(address, self.aws.settings.ssh_port) is None:
                break
        return address

    # Its life

    def start(self) -> None:
        threading.Thread(target=self._boot, name=f"boot-{self.id}", daemon=True).start()

    def terminate(self) -> None:
        """TerminateInstances: everything on the host is ended; nothing happens to what is ending already."""
        with self._lock:
            if self.record.state == "stopped":
                self._close(USER, "terminated")
            elif self.record.state in {"pending", "running", "stopping"}:
                self._end(USER)

    def power_off(self, *, at_once: bool) -> None:
        """StopInstances: its disk, its private address and its id stay; nothing happens to what is stopped already.

        Parameters: `at_once` to kill its processes rather than to ask them to end.
        Raises AwsError for an instance that does not run.
        """
        with self._lock:
            if self.record.state in {"stopping", "stopped"}:
                return
            if self.record.state != "running":
                raise self.cannot_be("stopped")
            self._end(USER, "stopping")
            if at_once and self._host:
                self._host.kill()

    def power_on(self) -> None:
        """StartInstances, with another public address; nothing happens to what runs already.

        Raises AwsError for an instance that is not stopped.
        """
        with self._lock:
            if self.record.state in {"pending", "running"}:
                return
            if self.record.state != "stopped":
                raise self.cannot_be("started")
            # After a restart of the local AWS another instance may have taken its address.
            if refused_port(self.address, self.aws.settings.ssh_port) is not None:
                self.address = self._free_address()
            self._ending, self.launched = None, Clock.now()
            self.record.start_again(self.address, self._free_address())
        self.start()

    def reboot(self) -> None:
        """RebootInstances: its host ends and boots again, while it is running all the time.

        AWS ignores it for an instance that has ended. Raises AwsError for another that does not run.
        """
        with self._lock:
            if self.record.state in {"shutting-down", "terminated"} or self._rebooting:
                return
            if self.record.state != "running" or self._host is None:
                raise self.cannot_be("rebooted")
            self._rebooting, self.reachable = True, False
            self._shut_down(self._host)

    def interrupt(self) -> float:
        """Give a Spot instance its notice; the real seconds until it is taken away.

        Raises AwsError for an instance that is on demand, does not run, or has its notice already.
        """
        with self._lock:
            if self.spot is None:
                raise AwsError("UnsupportedOperation", f"{self.id} is on demand: only Spot capacity is taken back.")
            if self.record.state != "running":
                raise AwsError("IncorrectInstanceState", f"{self.id} does not run: it is {self.record.state}.")
            if self._notice:
                raise AwsError("IncorrectInstanceState", f"{self.id} has its interruption notice already.")
            seconds = self.aws.clock.real(NOTICE_SECONDS)
            self._notice = Clock.now() + dt.timedelta(seconds=seconds)
            self.spot.enter("marked-for-termination")
        timer = threading.Timer(seconds, self._take_away)
        timer.daemon = True
        timer.start()
        return seconds

    def _boot(self) -> None:
        with self._lock:
            if self._ending:
                self._close(self._ending, "terminated")
                return
            try:
                if self._volume.exists():
                    self._folder.parent.mkdir(parents=True, exist_ok=True)
                    self._volume.rename(self._folder)
                self._metadata = MetadataService(self.address, self._tree(), self._admits)
                self._start_host(self._metadata.url)
            except Exception:
                # A full disk, too many processes: on AWS an instance that can't be started is terminated.
                log.exception("%s could not be started", self.id)
                self._close(BROKEN, "terminated")
                return
            self.record.enter("running")
        self.aws.saver.changed()

    def _start_host(self, metadata: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        addresses = dict.fromkeys([self.address, self.record.public_address or self.address])
        self._host = self.aws.instances.start(
            "ec2",
            [sys.executable, "-I", str(HOST), str(self._folder), ",".join(addresses), str(self.aws.settings.ssh_port)],
            environment=self._environment(metadata),
            folder=self._folder,
            address=self.address,
            threads=instance_types.threads(self.record.instance_type),
            niceness=NICENESS,
            on_line=self._line,
            on_exit=self._ended,
            forked_from=TEMPLATE,
        )

    def _take_away(self) -> None:
        with self._lock:
            if self.record.state == "running":
                self.interrupted = True
                self._end(INTERRUPTED)

    def _end(self, why: tuple[str, str], state: str = "shutting-down") -> None:
        self._ending = why
        self.reachable = False
        self.record.enter(state, reason=_transition(why), code=why[0], message=why[1])
        if self._host:
            self._shut_down(self._host)

    def _shut_down(self, host: Instance) -> None:
        threading.Thread(target=host.stop, args=(GRACE_SECONDS,), name=f"shutdown-{self.id}", daemon=True).start()

    def _ended(self, host: Instance) -> None:
        """Nothing of the host runs any more: it was told to end, or it has shut itself down, or it broke."""
        with self._lock:
            if self._rebooting and self._ending is None and self._metadata:
                self._rebooting = False
                try:
                    self._start_host(self._metadata.url)
                except Exception:
                    log.exception("%s could not be rebooted", self.id)
                    self._close(BROKEN, "terminated")
                return
            self._rebooting = False
            why = self._ending or (INSIDE if host.returncode == 0 else BROKEN)
            # A one-time Spot request's instance can't be stopped, only end.
            stops = why is INSIDE and self.record.shutdown_behavior == "stop" and self.spot is None
            self._close(why, "stopped" if stops or self.record.state == "stopping" else "terminated")

    def _close(self, why: tuple[str, str], state: str) -> None:
        self.reachable = False
        if self._metadata:
            # Its loop may be busy with the very request that asks for this lock.
            threading.Thread(target=self._metadata.close, daemon=True).start()
            self._metadata = None
        if state == "stopped":
            # Beside what is deleted whenever the local AWS starts.
            self._volume.parent.mkdir(parents=True, exist_ok=True)
            self._folder.rename(self._volume)
        else:
            shutil.rmtree(self._folder, ignore_errors=True)
            shutil.rmtree(self._volume, ignore_errors=True)
            if self.spot:
                code = "instance-terminated-no-capacity" if self.interrupted else "instance-terminated-by-user"
                self.spot.enter(code, "closed")
        self.record.enter(state, reason=_transition(why), code=why[0], message=why[1])
        self.aws.saver.changed()
        if state == "terminated":
            self._on_end(self)

    # Its console and its network

    def console(self) -> tuple[str, dt.datetime]:
        """What its console says, and when it said the last of it."""
        with self._lock:
            return "".join(self._console), self._console_at

    def _line(self, line: str) -> None:
        with self._lock:
            self._console.append(line + "\r\n")
            self._console_at = Clock.now()
            while sum(map(len, self._console)) > CONSOLE_BYTES:
                self._console.popleft()
            if SSH_STARTED in line and not self._ending:
                self.reachable = True
        self.aws.saver.changed(trickle=True)

    def _admits(self, address: str) -> bool:
        try:
            return self.record.admits(address, SSH_RULE_PORT, [each.record for each in self._peers()])
        except ValueError:
            return False

    # What it knows of itself

    def _environment(self, metadata: str) -> dict[str, str]:
        python = self.aws.environments.make(self._folder / "environment")
        return pip_variables(isolated=False) | {
            "PATH": self.aws.environments.path(python),
            "AWS_ENDPOINT_URL": self.aws.url,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata,
            "AWS_REGION": self.aws.region,
            "AWS_DEFAULT_REGION": self.aws.region,
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        }

    def _tree(self) -> dict[str, Callable[[], str | None]]:
        """What the metadata service answers; AWS: EC2 user guide, "Instance metadata categories"."""
        record, zone = self.record, self.record.zone
        user_data = record.user_data
        tree: dict[str, Callable[[], str | None]] = {
            "meta-data/ami-id": lambda: record.image_id,
            "meta-data/ami-launch-index": lambda: str(record.launch_index),
            "meta-data/hostname": lambda: record.host_name,
            "meta-data/instance-action": lambda: "none",
            "meta-data/instance-id": lambda: self.id,
            "meta-data/instance-life-cycle": lambda: "spot" if self.spot else "on-demand",
            "meta-data/instance-type": lambda: record.instance_type,
            "meta-data/local-hostname": lambda: record.host_name,
            "meta-data/local-ipv4": lambda: self.address,
            "meta-data/placement/availability-zone": lambda: zone,
            "meta-data/placement/region": lambda: zone[:-1],
            "meta-data/public-ipv4": lambda: record.public_address,
            "meta-data/reservation-id": lambda: self.reservation_id,
            "meta-data/security-groups": lambda: "\n".join(record.security_groups),
            "meta-data/services/domain": lambda: "amazonaws.com",
            "meta-data/services/partition": lambda: "aws",
            "dynamic/instance-identity/document": self._document,
        }
        for user in ("ubuntu", "ec2-user"):
            tree[f"meta-data/managed-ssh-keys/active-keys/{user}"] = lambda user=user: (
                "\n".join(self.keys.of(user)) or None
            )
        if user_data:
            tree["user-data"] = lambda: user_data.decode("utf-8", "surrogateescape")
        if record.public_key:
            tree["meta-data/public-keys/0/openssh-key"] = lambda: record.public_key
        if role := profile_role(self.aws, record.profile_name):
            tree[f"meta-data/iam/security-credentials/{role}"] = lambda: role_credentials(self.aws, role, self.id)
        if self.spot:
            tree["meta-data/spot/instance-action"] = self._instance_action
            tree["meta-data/spot/termination-time"] = lambda: _iso(self._notice)
        return tree

    def _instance_action(self) -> str | None:
        return json.dumps({"action": "terminate", "time": _iso(self._notice)}) if self._notice else None

    def _document(self) -> str:
        document: dict[str, Any] = {
            "accountId": self.aws.account,
            "architecture": "x86_64",
            "availabilityZone": self.record.zone,
            "imageId": self.record.image_id,
            "instanceId": self.id,
            "instanceType": self.record.instance_type,
            "pendingTime": _iso(self.launched),
            "privateIp": self.address,
            "region": self.record.zone[:-1],
            "version": "2017-09-30",
        }
        return json.dumps(document, indent=2)


def volume(aws: LocalAws, instance_id: str) -> Path:
    """Where the disk of a stopped instance is."""
    return aws.settings.state / "volumes" / instance_id


def _iso(when: dt.datetime | None) -> str | None:
    return f"{when:%Y-%m-%dT%H:%M:%SZ}" if when else None


def _transition(why: tuple[str, str]) -> str:
    """StateTransitionReason."""
    return why[0] if why is INTERRUPTED else transition(why)
