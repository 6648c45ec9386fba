"""What every service of the local AWS looks like.

A service is a class with one method an operation, named as boto3 names it: `create_training_job(self, call)` takes the
parsed parameters in `call.params` (in the API's own words) and returns the answer's members as a dict, or raises
`AwsError`. Routing, parsing, validation, authorisation and serialising are done by the gateway from botocore's model.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from botocore import xform_name

from local_aws.errors import AwsError

if TYPE_CHECKING:
    from local_aws.aws import LocalAws


RESTARTED = "the local AWS was restarted"
"""Why what ran when the state was saved has failed."""

FORWARD: dict[str, Any] = {"forward": "moto"}
"""What an operation returns for a resource that moto keeps: moto answers the call."""


@dataclass(frozen=True)
class Call:
    """One call of an operation, after parsing and validation."""

    service: str
    operation: str
    params: dict[str, Any]
    account: str
    region: str
    access_key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    denied: Mapping[tuple[str, str], AwsError] = field(default_factory=dict)
    """(action, resource) -> why not, of a call that is carried out for what of it IAM allows."""

    def arn(self, resource: str, *, service: str | None = None) -> str:
        """The ARN of a resource of this call's account and region: `call.arn("training-job/name")`."""
        return f"arn:aws:{service or self.service}:{self.region}:{self.account}:{resource}"


@dataclass(frozen=True)
class RawRequest:
    """A call of a hot data-plane operation: its parameters without the body, which is somebody else's, and its headers
    by their names in lower case."""

    params: dict[str, Any]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class RawResponse:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


@dataclass(frozen=True)
class FastPath:
    """A route that is found by one pattern, and whose handler writes its answer itself; it passes every stage.

    `members` are the wire names of the parameters that the pattern's groups are. The handler may raise AwsError.
    """

    method: str
    pattern: re.Pattern[str]
    service: str
    signing_name: str
    operation: str
    members: tuple[str, ...]
    handler: Callable[[RawRequest], RawResponse]


class Service:
    """Base of the local AWS's own services.

    Several classes may share one botocore service name: each brings its part of the operations.
    """

    name: ClassVar[str]
    """botocore's service name."""

    def __init__(self, aws: LocalAws) -> None:
        self.aws = aws

    def operations(self) -> dict[str, Callable[[Call], dict[str, Any] | None]]:
        """The operations this class answers: API name -> method."""
        from moto.core.utils import get_service_model

        names = get_service_model(self.name).operation_names
        return {name: getattr(self, xform_name(name)) for name in names if hasattr(self, xform_name(name))}

    def fast_paths(self) -> Iterable[FastPath]:
        """Routes of the hot data-plane operations, if there are any."""
        return ()

    def locks(self) -> Iterable[AbstractContextManager[Any]]:
        """Locks that are held for the moment in which the state is saved, besides that no operation is under way.

        The service's own threads change nothing that is saved without one of them. Who holds one waits for nothing.
        """
        return ()

    def remember(self) -> Any:
        """What of this service is saved: records that can be pickled; None when moto keeps all of it.

        Called at every save, while no operation and no minute is under way: it has to be quick. What the service's own
        threads change meanwhile, and none of `locks` guards, has to be copied under their locks.
        """
        return None

    def restore(self, kept: Any, saved_at: dt.datetime) -> None:
        """Put back what `remember` gave at `saved_at`, before `start`; what it gave is not None.

        Moto's records and the services before this one in the list have been put back. Nothing is started here.
        """

    def start(self) -> None:
        """Called once, when all services exist and before the first request: what runs on its own begins here.

        What was put back and needs processes gets them.
        """

    def resource_policy(self, arn: str) -> str | None:
        """The text of the policy that a resource of this service has of its own; None without one."""
        return None

    def resource_tags(self, arn: str) -> Mapping[str, str] | None:
        """The tags of a resource; None for one that is not this service's."""
        return None

    def every_minute(self, now: float) -> None:
        """Called at every AWS minute's start (Unix seconds): what makes a service live."""

    def interrupt(self, name: str) -> str | None:
        """Take the Spot capacity of what is called `name` back; a sentence of what happens now.

        None when this service has nothing of that name. Raises AwsError with a sentence for something that it has and
        that can't be interrupted, such as an on-demand instance.
        """
        return None

    def stop(self) -> None:
        """Called once at shutdown; the instances are stopped by their owner afterwards."""


def page(items: list[Any], call: Call, *, key: str, default: int = 100) -> dict[str, Any]:
    """One page of a list operation: `{key: [...], "NextToken": ...}` from MaxResults and NextToken.

    Raises AwsError for a token that this did not give out.
    """
    from local_aws.errors import validation

    token, size = call.params.get("NextToken"), call.params.get("MaxResults") or default
    if token is not None and not token.isdigit():
        raise validation(f"The token {token!r} is invalid.")
    start = int(token or 0)
    answer: dict[str, Any] = {key: items[start : start + size]}
    if start + size < len(items):
        answer["NextToken"] = str(start + size)
    return answer
