"""What the services share: one object with the clock, the storage, the logs, the instances and the services."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from local_aws.clock import Clock
from local_aws.door import Door
from local_aws.environments import Environments
from local_aws.iam.authority import Authority
from local_aws.iam.mode import Mode
from local_aws.iam.sessions import Lasting
from local_aws.instances import Instances
from local_aws.logs import Logs
from local_aws.quotas import Quotas
from local_aws.s3.store import Store
from local_aws.state import SAVE_SECONDS
from local_aws.state.saver import Saver
from local_aws.storage import Storage

ACCOUNT = "123456789012"
REGION = "us-east-1"
# The access key of the local AWS's own calls to itself, told apart from every client's.
OWN_ACCESS_KEY = "LOCALAWSINTERNAL0000"
# In the User-Agent of those of them that are for moto, although an operation of ours has their name.
ASKS_MOTO = "asks-moto"
# An administrator's access key and secret, unless the daemon is told others.
ADMINISTRATOR = ("test", "test")

AnyService = TypeVar("AnyService")


@dataclass(frozen=True)
class Settings:
    """What the daemon was started with."""

    port: int
    state: Path
    minute_seconds: float
    jobs_python: Path
    """The Python of the environment that stands in for AWS's PyTorch containers."""
    host: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0 for every one of this machine."""
    allowed_hosts: tuple[str, ...] = ()
    """Host names by which it answers, besides the loopback ones and `host`."""
    ssh_port: int = 0
    """Where EC2 instances answer SSH, each on its own address; the server puts the best for 0."""
    save_seconds: float = SAVE_SECONDS
    """How long after a change it is in the state folder, at the latest."""
    account: str = ACCOUNT
    region: str = REGION
    iam: Mode = Mode.OFF
    administrators: Mapping[str, str] = field(default_factory=lambda: dict([ADMINISTRATOR]))
    """Access key -> secret of those who may do everything."""
    offers: tuple[Lasting, ...] = ()
    """The roles whose credentials are to be had at an address for as long as the daemon runs."""
    loopback_is_tls: bool = True
    """Whether policies see a call over loopback as one over TLS."""


class LocalAws:
    """One account in one region."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.account, self.region = settings.account, settings.region
        # A page can call 0.0.0.0, too, and no program has to.
        self.door = Door({settings.host, *settings.allowed_hosts} - {"0.0.0.0"}, option="--allowed-host")
        self.clock = Clock(settings.minute_seconds)
        self.quotas = Quotas()
        self.instances = Instances(settings.state / "instances")
        self.environments = Environments(settings.jobs_python)
        self.saver = Saver(self, settings.state, settings.save_seconds)
        self.store = Store(settings.state, self.account)
        self.s3 = Storage(self.store)
        self.logs = Logs(self.account, self.region, lambda: self.saver.changed(trickle=True))
        # The services know this object, so that it knows nothing of them but that they are services.base.Service.
        self.services: list[Any] = []
        self._by_kind: dict[type, Any] = {}
        self.metrics: Any = None
        """The service CloudWatch, once it is built: `aws.metrics.put(namespace, name, dimensions, value, unit)`."""
        self.events: Any = None
        """The service EventBridge, once it is built: `aws.events.send(detail_type, arn, detail, source)`."""
        self._own_secret = secrets.token_urlsafe(30)
        self.iam = Authority(
            self, settings.iam, dict(settings.administrators), (OWN_ACCESS_KEY, self._own_secret), settings.offers,
            loopback_is_tls=settings.loopback_is_tls,
        )  # fmt: skip
        self._clients: dict[tuple[str, str, bool], Any] = {}
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where the gateway answers this machine: the daemon itself, and what it starts."""
        host = "127.0.0.1" if self.settings.host == "0.0.0.0" else self.settings.host
        return f"http://{host}:{self.settings.port}"

    def url_for(self, headers: Mapping[str, str]) -> str:
        """Where the gateway answers a caller, by the name that the request called it by."""
        return f"http://{headers['host']}" if headers.get("host") else self.url

    def service(self, kind: type[AnyService]) -> AnyService:
        """The one service of a class."""
        found = self._by_kind.get(kind)
        if found is None:
            found = self._by_kind[kind] = next(each for each in self.services if isinstance(each, kind))
        return found

    def client(self, name: str, region: str | None = None, *, of_moto: bool = False) -> Any:
        """A boto3 client of this AWS for its own use, e.g. to read what moto keeps.

        Parameters: `of_moto` for one whose questions a service of ours hands on to moto (`Call.asks_moto`).
        """
        import boto3
        from botocore.config import Config

        key = name, region or self.region, of_moto
        with self._lock:
            if key not in self._clients:
                self._clients[key] = boto3.client(
                    name,
                    endpoint_url=self.url,
                    region_name=key[1],
                    aws_access_key_id=OWN_ACCESS_KEY,
                    aws_secret_access_key=self._own_secret,
                    config=Config(user_agent_extra=ASKS_MOTO if of_moto else ""),
                )
            return self._clients[key]
