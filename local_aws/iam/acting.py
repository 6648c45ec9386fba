"""What AWS's services call in a role's name: SageMaker around a job or a container, Lambda for a function's log.

These calls never come over HTTP here, and on AWS they are decided on like any other: by the role's policies, its
boundary and the resource's own policy. Each is asked of the same evaluator, and remembered like any caller's. Policies
are read anew for each of them, so that a changed one counts from the very next call on.
"""

from __future__ import annotations

import datetime as dt
import functools
from typing import Any

from local_aws.iam.asked import NO_KEYS, Call, Question
from local_aws.iam.context import Asker
from local_aws.iam.evaluate import Principal
from local_aws.iam.identities import Identity
from local_aws.iam.mode import Mode
from local_aws.iam.questions import questions
from local_aws.iam.sessions import LONGEST_NAME


class AccessDenied(PermissionError):
    """What a role may not do, as AWS's sentence."""


class Acting:
    """A role as a service of AWS's has taken it.

    Parameters
    ----------
    authority
        The iam.authority.Authority that decides.
    role
        Its ARN.
    service
        Who has taken it, such as `sagemaker.amazonaws.com`.
    session
        What the service calls its session, such as `SageMaker`.
    """

    def __init__(self, authority: Any, role: str, service: str, session: str) -> None:
        self._authority, self.role, self.service, self.session = authority, role, service, session[:LONGEST_NAME]
        self._since = dt.datetime.now(dt.UTC)
        self._known: tuple[tuple, Identity] | None = None

    def trusted(self) -> bool:
        """Whether the role is there and lets the service take it; always where nobody enforces."""
        authority = self._authority
        return authority.mode is not Mode.ENFORCE or authority.sessions.trusts(self.role, self.service)

    def call(self, service: str, operation: str, **params: Any) -> None:
        """Ask whether the role may make a call of botocore's names. Raises AccessDenied when enforcing."""
        if self._authority.mode is not Mode.OFF:
            call = self._called(service, operation, params)
            self._ask(call, questions(call))

    def may(self, service: str, operation: str, **params: Any) -> bool:
        """As `call`, for what is left undone where it is denied."""
        try:
            self.call(service, operation, **params)
        except AccessDenied:
            return False
        return True

    def may_on(self, service: str, operation: str, resource: str) -> bool:
        """As `may`, on a resource that a request could not name, such as another account's."""
        if self._authority.mode is Mode.OFF:
            return True
        question = Question(f"{service}:{operation}", resource, NO_KEYS)
        try:
            self._ask(self._called(service, operation, {}), [question])
        except AccessDenied:
            return False
        return True

    def _called(self, service: str, operation: str, params: dict[str, Any]) -> Call:
        aws = self._authority.aws
        return Call(service, operation, params, aws.account, aws.region)

    def _ask(self, call: Call, asked: list[Question]) -> None:
        identity, came = self._identity(), functools.partial(self._authority.way_of, self.service)
        for question in asked:
            error = self._authority.refusal(call, question, identity, came, "rest-xml")
            if error is not None:
                raise AccessDenied(error.message)

    def _identity(self) -> Identity:
        """The role as it is now; the same object as long as it is the same."""
        authority, name = self._authority, self.role.rpartition("/")[2]
        account = authority.aws.account
        principal = Principal(f"arn:aws:sts::{account}:assumed-role/{name}/{self.session}", account, self.role)
        # A role that is gone can do nothing any more.
        gone = (), None, Asker(self.role, account, "AssumedRole", "", None, {})
        written = authority.identities.policies_of(self.role) or gone
        if self._known is None or self._known[0] != written:
            policies, boundary, asker = written
            asker = asker._replace(user_id=f"{asker.user_id}{self.session}", issued=self._since)
            self._known = written, Identity(principal, asker, "", None, None, policies, boundary)
        return self._known[1]
