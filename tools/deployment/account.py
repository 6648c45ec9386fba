"""The one door to AWS: every call of a deployment goes through it, and in a dry run every write stops at it.

Reads are made in a dry run as well; a write is printed with its parameters and answered as AWS would (rehearsal.py), so
that the way through the code is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import boto3
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tools.cloudformation import InfrastructureError, said
from tools.deployment.rehearsal import Rehearsal

# Everything else writes. GetCallerIdentity and the like begin with these as well.
READS = ("Describe", "Get", "Head", "List")
LONGEST = 100  # of a parameter that is printed


class Account:
    """Clients of one region, one of each service.

    Parameters: `say` gets the lines for a person; `rehearsal` answers writes instead of AWS, none of which are made
    then; `options` of each boto3 client.
    """

    def __init__(
        self, region: str, say: Callable[[str], None] = print, rehearsal: Rehearsal | None = None, **options: Any
    ) -> None:
        self.region, self.say, self.rehearsal = region, say, rehearsal
        self._options = options
        self._clients: dict[str, Any] = {}

    @property
    def dry_run(self) -> bool:
        return self.rehearsal is not None

    def client(self, service: str) -> Any:
        """The boto3 client of a service."""
        if service not in self._clients:
            client = boto3.client(
                service, region_name=self.region, config=Config(retries={"mode": "standard"}), **self._options
            )
            if self.dry_run:
                # First of all handlers: another one that answered would hide the call.
                client.meta.events.register_first("before-parameter-build.*.*", self._note)
                client.meta.events.register_first("before-call.*.*", self._rehearse)
            self._clients[service] = client
        return self._clients[service]

    def done(self, text: str) -> None:
        """Say what a step has changed."""
        self.say(f"{text} (rehearsed)" if self.dry_run else text)

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

    def _note(self, params: Mapping[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        """Keep a call's parameters for the next event, which has them only as they go over the wire."""
        context["rehearsed"] = dict(params)

    def _rehearse(self, model: Any, context: Mapping[str, Any], **_: Any) -> tuple[AWSResponse, Any] | None:
        """Print a call, and answer it here unless it is a read of something that no rehearsed write has changed."""
        service, operation, given = model.service_model.service_name, model.name, context["rehearsed"]
        reads = operation.startswith(READS)
        answer = self.rehearsal.answer(service, operation, given) if self.rehearsal else None
        if reads and answer is None:
            self.say(f"  reads       {line(service, operation, given)}")
            return None
        self.say(f"  would {'read' if reads else 'call'}  {line(service, operation, given)}")
        return AWSResponse("", 200, {}, None), answer or {}


def line(service: str, operation: str, parameters: Mapping[str, Any]) -> str:
    """A call as one line: `s3 PutObject Bucket=musher-111122223333 Key=mwaa/manifest.json Body=<9,812 bytes>`."""
    return " ".join([service, operation, *(f"{name}={_shown(name, value)}" for name, value in parameters.items())])


def _shown(name: str, value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        if "ParameterKey" in value[0]:
            pairs = [(each["ParameterKey"], each["ParameterValue"]) for each in value]
            return "{" + ", ".join(f"{key}: {text}" for key, text in pairs) + "}"
        if "Key" in value[0] and "Value" in value[0]:
            return "{" + ", ".join(f"{each['Key']}: {each['Value']}" for each in value) + "}"
    if isinstance(value, dict) and "Objects" in value:
        return f"<{len(value['Objects']):,} versions>"
    if isinstance(value, bytes) or name in ("TemplateBody", "SecretString"):
        return f"<{len(value):,} bytes>"
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
