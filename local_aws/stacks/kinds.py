"""What a kind of resource is for stacks that make it by its service's own operations."""

from __future__ import annotations

import secrets
import string
import uuid
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError

from local_aws.stacks.ledger import Entry

Steps = Generator[None, None, None]
"""Yields whenever there is something to wait for."""
SUFFIX = string.ascii_uppercase + string.digits
HANDLER_CODES = {403: "AccessDenied", 404: "NotFound", 409: "AlreadyExists", 429: "Throttling", 500: "InternalFailure"}
# How services say that a caller may not.
DENIALS = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError")


class Failed(Exception):
    """A resource is not as it was asked for; the message is the event's reason."""


@dataclass
class Work:
    """One resource to be made, changed or deleted."""

    entry: Entry
    client: Callable[[str], Any]
    """A boto3 client by a service's name, of the stack's region."""
    stack: str
    """The stack's name."""
    account: str
    region: str
    tags: Mapping[str, str]
    """The stack's own."""
    before: Mapping[str, Any] = None  # type: ignore[assignment]
    """The properties that it had, of one that is changed."""

    @property
    def given(self) -> dict[str, Any]:
        return self.entry.properties

    def changed(self, *names: str) -> bool:
        """Whether any of the properties is another than before."""
        return any(self.given.get(name) != self.before.get(name) for name in names)

    def call(self, service: str, operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Call an operation, with properties as its members. Raises Failed for members that it does not have."""
        client = self.client(service)
        shape = client.meta.service_model.operation_model(operation).input_shape
        fitted = {name: fit(value, shape.members[name], f"/{name}") for name, value in params.items()}
        return getattr(client, xform_name(operation))(**fitted)

    def all_tags(self) -> dict[str, str]:
        """The resource's tags: the stack's, and its own before them."""
        own = {str(each["Key"]): text(each.get("Value", "")) for each in self.given.get("Tags") or ()}
        return {**self.tags, **own}

    def tag_list(self) -> list[dict[str, str]]:
        return tag_list(self.all_tags())


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as most operations take them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


class Kind:
    """Base: how resources of one kind are made, changed and deleted.

    Source of each: its page in the CloudFormation template reference; what Ref and Fn::GetAtt give, and which
    properties "Update requires: Replacement".
    """

    type: ClassVar[str]
    service: ClassVar[str]
    """botocore's name."""
    properties: ClassVar[frozenset[str]] = frozenset()
    """All that are carried out, besides those that are members of the creating operation."""
    replacing: ClassVar[frozenset[str]] = frozenset()
    """Those that can only be changed by another resource in its place."""
    named: ClassVar[str] = ""
    """The property that names it; the stack names one without."""
    longest: ClassVar[int] = 64
    attributes: ClassVar[tuple[str, ...]] = ()
    creates: ClassVar[str] = ""
    """The operation that makes one: its members are properties, too."""

    def has(self, attribute: str) -> bool:
        return attribute in self.attributes

    def create(self, work: Work) -> Steps:
        """Make it and wait until it is ready. `work.entry` gets its id as soon as there is something to delete."""
        raise NotImplementedError

    def update(self, work: Work) -> Steps:
        """Change it as `work.given` says, and wait until it is."""
        raise NotImplementedError

    def delete(self, work: Work) -> Steps:
        """Delete it and wait until it is gone; one that is gone already is no failure."""
        raise NotImplementedError

    def check(self, work: Work) -> None:
        """Raise Failed for a property that nobody would carry out."""
        known = set(self.properties) | ({self.named} - {""}) | {"Tags"}
        if self.creates:
            known |= set(work.client(self.service).meta.service_model.operation_model(self.creates).input_shape.members)
        for name in work.given:
            if name not in known:
                raise Failed(f"The local AWS's CloudFormation does not carry out {name} of {self.type}: leave it out.")

    def members(self, work: Work, *without: str) -> dict[str, Any]:
        """The properties that are members of the creating operation, but some."""
        return {name: value for name, value in work.given.items() if name not in {*self.properties, "Tags", *without}}

    def name(self, work: Work) -> str:
        """What it is called: by its template, or by the stack with a suffix of its own."""
        given = work.given.get(self.named)
        if given:
            work.entry.name = str(given)
        elif not work.entry.name or self.named in (work.before or {}):
            suffix = "".join(secrets.choice(SUFFIX) for _ in range(12))
            beginning = f"{work.stack}-{work.entry.logical_resource_id}"[: self.longest - len(suffix) - 1]
            work.entry.name = f"{beginning}-{suffix}"
        return work.entry.name


def text(value: Any) -> str:
    """A value of a template where a text is asked for."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def fit(value: Any, shape: Any, path: str) -> Any:
    """A value of a template as an operation's model has it: templates write numbers as texts. Raises Failed."""
    kind = shape.type_name
    if kind == "structure":
        if getattr(shape, "is_document_type", False):
            return value
        _require(value, dict, path, "JSONObject")
        for name in value:
            if name not in shape.members:
                raise Failed(f"Properties validation failed: #{path}: extraneous key [{name}] is not permitted")
        return {name: fit(each, shape.members[name], f"{path}/{name}") for name, each in value.items()}
    if kind == "list":
        _require(value, list, path, "JSONArray")
        return [fit(each, shape.member, f"{path}/{number}") for number, each in enumerate(value)]
    if kind == "map":
        _require(value, dict, path, "JSONObject")
        return {text(name): fit(each, shape.value, f"{path}/{name}") for name, each in value.items()}
    return _scalar(value, kind, path)


def _scalar(value: Any, kind: str, path: str) -> Any:
    try:
        if kind in ("integer", "long"):
            return int(value)
        if kind in ("float", "double"):
            return float(value)
    except (TypeError, ValueError):
        raise Failed(f"Properties validation failed: #{path}: expected type: Number, found: {value!r}") from None
    if kind == "boolean":
        if text(value) not in ("true", "false"):
            raise Failed(f"Properties validation failed: #{path}: expected type: Boolean, found: {value!r}")
        return text(value) == "true"
    if kind == "string":
        if isinstance(value, dict | list):
            raise Failed(f"Properties validation failed: #{path}: expected type: String, found: {type(value).__name__}")
        return text(value)
    return value


def _require(value: Any, kind: type, path: str, name: str) -> None:
    if not isinstance(value, kind):
        raise Failed(f"Properties validation failed: #{path}: expected type: {name}, found: {type(value).__name__}")


def is_missing(error: ClientError) -> bool:
    """Whether an operation says that there is no such thing."""
    said = error.response["Error"]
    words = ("NotFound", "NoSuch", "ResourceNotFound", "Could not find", "does not exist", "No scalable target found")
    return any(word in said["Code"] or word in said.get("Message", "") for word in words)


def gone(call: Callable[[], Any]) -> None:
    """Make a call that deletes something; there being nothing is fine."""
    try:
        call()
    except ClientError as error:
        if not is_missing(error):
            raise


def until(condition: Callable[[], Any]) -> Steps:
    """Wait for a condition."""
    while not condition():
        yield


def retag(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """(tags to set, keys to remove)."""
    return {k: v for k, v in after.items() if before.get(k) != v}, [key for key in before if key not in after]


def reason_of(error: Exception, service: str) -> str:
    """Why an operation did not do what it was asked for, as CloudFormation's events say it."""
    if isinstance(error, ClientError):
        said, about = error.response["Error"], error.response["ResponseMetadata"]
        status, request = about.get("HTTPStatusCode", 400), about.get("RequestId", "")
        shown = service.replace("-", " ").title().replace(" ", "")
        code = HANDLER_CODES.get(status, "GeneralServiceException" if status < 500 else "ServiceInternalError")
        if "AlreadyExist" in said["Code"] or "already exist" in said.get("Message", "").lower():
            code = "AlreadyExists"
        elif said["Code"] in DENIALS:
            code = "AccessDenied"
        elif is_missing(error):
            code = "NotFound"
        elif "Validation" in said["Code"] or "Invalid" in said["Code"]:
            code = "InvalidRequest"
        message = (
            f"{said.get('Message', said['Code'])} (Service: {shown}, Status Code: {status}, Request ID: {request})"
        )
        return (
            f'Resource handler returned message: "{message}" (RequestToken: {uuid.uuid4()}, HandlerErrorCode: {code})'
        )
    if isinstance(error, Failed):
        return str(error)
    if isinstance(error, BotoCoreError):
        return f"Properties validation failed: {' '.join(str(error).split())}"
    return f"{type(error).__name__}: {error}"
