"""The one door to AWS: every call of a deployment goes through it, and in a dry run no write passes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tools.cloudformation import InfrastructureError, said

# Everything else writes. GetCallerIdentity and the like begin with these as well.
READS = ("Describe", "Get", "Head", "List")


class Account:
    """Clients of one region, one of each service.

    Parameters: `say` gets the lines for a person; `writes` are the operations that may be sent besides those that only
    read (None: all of them); `options` of each boto3 client.
    """

    def __init__(
        self,
        region: str,
        say: Callable[[str], None] = print,
        writes: Collection[str] | None = None,
        **options: Any,
    ) -> None:
        self.region, self.say, self.writes = region, say, writes
        self._options = options
        self._clients: dict[str, Any] = {}

    def client(self, service: str) -> Any:
        """The boto3 client of a service."""
        if service not in self._clients:
            client = boto3.client(
                service, region_name=self.region, config=Config(retries={"mode": "standard"}), **self._options
            )
            if self.writes is not None:
                client.meta.events.register_first("before-call.*.*", self._guard)
            self._clients[service] = client
        return self._clients[service]

    def check(self, account: str) -> str:
        """Whose credentials these are, as an ARN. Raises InfrastructureError for none, or another account's."""
        try:
            who = self.client("sts").get_caller_identity()
        except ClientError as error:
            raise InfrastructureError(f"AWS does not take these credentials: {said(error)}") from None
        except BotoCoreError as error:
            raise InfrastructureError(f"AWS cannot be asked whose credentials these are: {error}") from None
        if who["Account"] != account:
            raise InfrastructureError(
                f"These credentials are of the account {who['Account']}, and the settings are for {account}: nothing "
                "was changed. Choose others (AWS_PROFILE), or another ENV."
            )
        return who["Arn"]

    def _guard(self, model: Any, **_: Any) -> None:
        """Let nothing out in a dry run that it is not made for, whatever the code above asks for."""
        if not model.name.startswith(READS) and model.name not in (self.writes or ()):
            raise InfrastructureError(
                f"A dry run would have sent {model.service_model.service_name} {model.name}: nothing was sent."
            )
