"""In whose name a stack's resources are made: the caller's, or that of the role that the stack was given.

AWS: CloudFormation user guide, "AWS CloudFormation service role"; IAM user guide, "Forward access sessions". What the
handler of a kind of resource calls stands in its registry's schema; permissions.json has it for the kinds that are made
here by operations of their services. Of these calls those are made in somebody's name that the schema lists; what is
looked up here besides, nobody on AWS would need a permission for.
"""

from __future__ import annotations

import functools
import json
import secrets
import string
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from local_aws.errors import AwsError
from local_aws.iam import documents, table
from local_aws.iam.asked import Call
from local_aws.iam.authority import CALLED_VIA
from local_aws.iam.identities import Identity
from local_aws.iam.mode import Mode
from local_aws.iam.questions import questions
from local_aws.iam.sessions import CannotAssume
from local_aws.stacks.ledger import Entry
from local_aws.stacks.made import operations
from local_aws.stacks.template import invalid

if TYPE_CHECKING:
    from local_aws.aws import LocalAws

SERVICE = "cloudformation.amazonaws.com"
SESSION = "AWSCloudFormation"
MOST_CLIENTS = 64


class Denied(ClientError):
    """What a stack's caller or role may not do, or IAM would not take; `service` is botocore's name."""

    def __init__(self, service: str, operation: str, error: AwsError) -> None:
        said = {"Code": error.code, "Message": error.message}
        about = {"HTTPStatusCode": error.status, "RequestId": getattr(error, "request_id", "")}
        super().__init__({"Error": said, "ResponseMetadata": about}, operation)
        self.service = service


class Credentials(NamedTuple):
    """With what a stack's calls are signed."""

    key: str
    secret: str
    token: str | None
    via: bool
    """Whether they are the caller's own, so that CloudFormation calls on his behalf."""


class Callers:
    """Whose name each change of a stack is in; keeps clients."""

    def __init__(self, aws: LocalAws) -> None:
        self.aws = aws
        self._clients: dict[tuple[Credentials, str, str], Any] = {}
        self._lock = threading.Lock()

    def rights(self, access_key: str | None, role: str | None) -> Rights:
        """Of whoever has called, or of a role by its ARN. Raises AwsError for a role that cannot be taken."""
        iam = self.aws.iam
        if iam.mode is Mode.OFF:
            return Rights(self, None)
        if role:
            return Rights(self, self._of_role(role))
        identity = iam.identities.find(access_key or "")
        if identity is None:
            return Rights(self, None)  # an audit has said so
        return Rights(self, Credentials(access_key or "", identity.secret, identity.token, True))

    def _of_role(self, role: str) -> Credentials | None:
        try:
            session = self.aws.iam.sessions.begin(role, SERVICE, SESSION)
        except CannotAssume:
            if self.aws.iam.mode is not Mode.ENFORCE:
                return None
            raise invalid(f"Role {role} is invalid or cannot be assumed") from None
        return Credentials(session["AccessKeyId"], session["SecretAccessKey"], session["Token"], False)

    def client(self, credentials: Credentials, service: str, region: str) -> Any:
        """A boto3 client that signs as somebody."""
        key = credentials, service, region
        with self._lock:
            if key not in self._clients:
                while len(self._clients) >= MOST_CLIENTS:
                    del self._clients[next(iter(self._clients))]
                self._clients[key] = self._made(credentials, service, region)
            return self._clients[key]

    def _made(self, credentials: Credentials, service: str, region: str) -> Any:
        client = boto3.client(
            service, endpoint_url=self.aws.url, region_name=region, aws_access_key_id=credentials.key,
            aws_secret_access_key=credentials.secret, aws_session_token=credentials.token,
            config=Config(user_agent=SERVICE, retries={"total_max_attempts": 1}),
        )  # fmt: skip
        if credentials.via:
            said = f"{SERVICE} {self.aws.iam.via_secret}"
            client.meta.events.register(
                "before-sign", lambda request, **_: request.headers.add_header(CALLED_VIA, said)
            )
        return client


class Rights:
    """What a change of a stack may do. Parameters: `credentials` is None where nobody is asked."""

    def __init__(self, callers: Callers, credentials: Credentials | None) -> None:
        self._callers, self._credentials, self._aws = callers, credentials, callers.aws

    def client(self, service: str, region: str, kind: str, verb: str) -> Any:
        """A client for a handler: `verb` is create, update or delete."""
        own = self._aws.client(service, region)
        if self._credentials is None:
            return own
        return Client(service, own, self._callers.client(self._credentials, service, region), needed(kind, verb))

    def ask(self, entry: Entry, verb: str, region: str, stack: str) -> None:
        """Whether a resource of moto's may be made, changed or deleted. Raises Denied when enforcing."""
        if self._credentials is None:
            return
        if not entry.name and verb == "create":
            suffix = "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(12))
            entry.name = f"{stack}-{entry.logical_resource_id}-{suffix}"
        identity = self._aws.iam.identities.find(self._credentials.key)
        for service, operation, params in operations(entry, verb):
            self._ask_one(service, operation, params, region, identity)

    def _ask_one(
        self, service: str, operation: str, params: Mapping[str, Any], region: str, identity: Identity | None
    ) -> None:
        iam = self._aws.iam
        call = Call(service, operation, params, self._aws.account, region)
        try:
            documents.check(service, operation, params)
        except AwsError as error:
            raise Denied(service, operation, error) from None
        try:
            asked = questions(call)
        except KeyError:
            said = f"The local AWS's IAM knows no action of {operation} of {service}, and denies it."
            raise Denied(service, operation, AwsError("AccessDenied", said, status=403)) from None
        via = SERVICE if self._credentials is not None and self._credentials.via else ""
        came = functools.partial(iam.way_of, SERVICE, via)
        for question in asked:
            error = iam.refusal(call, question, identity, came, "query")
            if error is not None:
                raise Denied(service, operation, error)


class Client:
    """Calls what a handler of AWS's calls in somebody's name, and everything else in this AWS's own."""

    def __init__(self, service: str, own: Any, theirs: Any, listed: frozenset[str]) -> None:
        self._service, self._own, self._theirs, self._listed = service, own, theirs, listed

    def __getattr__(self, name: str) -> Any:
        operation = self._own.meta.method_to_api_mapping.get(name) if name != "meta" else None
        return getattr(self._theirs if operation and self._is_asked(operation) else self._own, name)

    def _is_asked(self, operation: str) -> bool:
        actions = table.actions(self._service, operation)
        # An operation that no table has is denied to everybody, here as well.
        return not actions or any(each.lower() in self._listed for each in actions)


@functools.cache
def _permissions() -> dict[str, dict[str, list[str]]]:
    return json.loads(Path(__file__).with_name("permissions.json").read_text())["kinds"]


@functools.cache
def needed(kind: str, verb: str) -> frozenset[str]:
    """The actions, in lower case, that the handler of a kind may need; CloudFormation reads what it has made."""
    found = _permissions()[kind]
    return frozenset(each.lower() for each in (*found[verb], *(found["read"] if verb != "delete" else ())))
