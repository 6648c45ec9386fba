"""Credentials of roles for what runs here, by the ways in which AWS gives them.

Jobs and endpoints ask for theirs at an address that only they know (SDKs: `AWS_CONTAINER_CREDENTIALS_FULL_URI`), hosts
their metadata service, functions have them in their environment. All are sessions of the role that STS knows.
"""

from __future__ import annotations

import datetime as dt
import hmac
import secrets
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from moto.backends import get_backend

from local_aws.iam.evaluate import Policies, Principal, evaluate
from local_aws.iam.identities import Identities

PREFIX = "/_local_aws/credentials/"
HOUR = 3600
# SDKs ask for others a quarter of an hour before theirs are over.
RENEWED_SECONDS = 1200
# A session name has 2 to 64 characters (STS API reference, AssumeRole).
LONGEST_NAME = 64


class CannotAssume(Exception):
    """Why a service of AWS's cannot take a role, as one sentence."""


class Offer(NamedTuple):
    """A role's credentials, to be had at an address."""

    role: str
    service: str
    name: str
    owner: str
    authorization: str = ""
    """What has to come along as the header Authorization, as `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE` has SDKs send it;
    empty where the address itself is the secret."""


class Lasting(NamedTuple):
    """An offer that the daemon is started with: a role by its name, the service that takes it, at which address below
    PREFIX, and what has to come along as `Offer.authorization`."""

    role: str
    service: str
    name: str
    authorization: str = ""


class Sessions:
    """Makes sessions of roles for AWS's services.

    Parameters
    ----------
    region
        The daemon's.
    lasting
        What comes behind PREFIX -> offer, of those that the daemon was started with.
    """

    def __init__(self, account: str, region: str, identities: Identities, lasting: Mapping[str, Offer]) -> None:
        self.account, self.region, self.identities = account, region, identities
        self._offers: dict[str, Offer] = dict(lasting)
        self._given: dict[str, tuple[dict[str, str], float]] = {}
        self._lock = threading.Lock()

    def trusts(self, role: str, service: str, source: str | None = None) -> bool:
        """Whether a role's trust policy lets a service such as `lambda.amazonaws.com` take it.

        Parameters: `source` is the ARN of what the service takes it for.
        """
        trust = self.identities.trust(role)
        if trust is None:
            return False
        keys: dict[str, tuple[str, ...]] = {
            "aws:sourceaccount": (self.account,),
            "aws:principalisawsservice": ("true",),
            "aws:principalservicename": (service,),
        }
        if source:
            keys["aws:sourcearn"] = (source,)
        policies = Policies(resource=trust, resource_must_allow=True)
        return evaluate("sts:AssumeRole", role, Principal(service=service), keys, policies).allowed

    def begin(self, role: str, service: str, name: str, seconds: int = HOUR) -> dict[str, str]:
        """A session as container credentials and metadata services write it: AccessKeyId, SecretAccessKey, Token,
        Expiration. Raises CannotAssume."""
        if not self.trusts(role, service):
            raise CannotAssume(f"The role {role} does not exist, or its trust policy does not allow {service}.")
        session = get_backend("sts")[self.account]["aws"].assume_role(
            self.region, name[:LONGEST_NAME], role, None, seconds, None
        )
        return {
            "AccessKeyId": session.access_key_id,
            "SecretAccessKey": session.secret_access_key,
            "Token": session.session_token,
            "Expiration": f"{session.expiration.replace(tzinfo=dt.UTC):%Y-%m-%dT%H:%M:%SZ}",
        }

    def offer(self, role: str, service: str, name: str, owner: str) -> str:
        """The path at which a role's credentials are to be had until they are withdrawn from their owner."""
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._offers[token] = Offer(role, service, name, owner)
        return PREFIX + token

    def withdraw(self, owner: str) -> None:
        with self._lock:
            self._offers = {token: each for token, each in self._offers.items() if each.owner != owner}
            self._given = {token: each for token, each in self._given.items() if token in self._offers}

    def answer(self, path: str, authorization: str) -> tuple[int, dict[str, Any]]:
        """What a path of an offer answers: status and JSON. The same session is given until it is soon over, as the
        agents of AWS's containers do."""
        token = path.removeprefix(PREFIX)
        found = self._offers.get(token)
        wanted = found.authorization if found is not None else ""
        if found is None or (wanted and not hmac.compare_digest(wanted.encode(), authorization.encode())):
            return 404, {"code": "NotFound", "message": "No credentials are to be had here."}
        session, until = self._given.get(token, ({}, 0.0))
        if until < time.monotonic():
            try:
                session = self.begin(found.role, found.service, found.name)
            except CannotAssume as error:
                return 400, {"code": "AccessDenied", "message": str(error)}
            self._given[token] = session, time.monotonic() + HOUR - RENEWED_SECONDS
        return 200, {"RoleArn": found.role, **session}
