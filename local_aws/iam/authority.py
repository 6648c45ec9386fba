"""IAM of this AWS: who calls, whether he may, and what is remembered of it. See `Mode`."""

from __future__ import annotations

import datetime as dt
import functools
import logging
import secrets
import uuid
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from local_aws.errors import AwsError
from local_aws.iam import denials, documents, signatures
from local_aws.iam.acting import Acting
from local_aws.iam.asked import Call, Question
from local_aws.iam.context import Keys, Way
from local_aws.iam.decisions import Decisions
from local_aws.iam.evaluate import Decision
from local_aws.iam.holdings import Holdings
from local_aws.iam.identities import Identities, Identity
from local_aws.iam.journal import Asked, Denial, Journal, Values
from local_aws.iam.mode import Mode
from local_aws.iam.questions import questions
from local_aws.iam.sessions import Lasting, Offer, Sessions
from local_aws.pipeline.exchange import environ_key

if TYPE_CHECKING:
    from local_aws.pipeline.exchange import Exchange

log = logging.getLogger(__name__)

CALLED_VIA = "X-Local-Aws-Called-Via"
"""The header in which a service that calls on somebody's behalf names itself, with the daemon's own secret."""


class Authority:
    """Decides on every call.

    Parameters
    ----------
    aws
        The local AWS, for what `Holdings` looks up in it.
    administrators
        Access key -> secret of those who may do everything.
    own_key
        The access key and secret of the daemon's calls to itself, which are part of a call that was decided on.
    offers
        The roles whose credentials are to be had at an address all the time.
    loopback_is_tls
        Whether a call that comes without TLS counts as one with it: nobody but this machine can read it.
    """

    def __init__(
        self,
        aws: Any,
        mode: Mode,
        administrators: dict[str, str],
        own_key: tuple[str, str],
        offers: Iterable[Lasting] = (),
        *,
        loopback_is_tls: bool,
    ) -> None:
        self.aws, self.mode, self.loopback_is_tls = aws, mode, loopback_is_tls
        self.identities = Identities(aws.account, administrators)
        self.holdings = Holdings(aws, self.identities)
        self.journal = Journal()
        self._decisions = Decisions()
        lasting = {
            each.name: Offer(
                f"arn:aws:iam::{aws.account}:role/{each.role}", each.service, each.service.partition(".")[0], owner="",
                authorization=each.authorization,
            )
            for each in offers
        }  # fmt: skip
        self.sessions = Sessions(aws.account, aws.region, self.identities, lasting)
        self._own_key, self._own_secret = own_key
        self.via_secret = secrets.token_urlsafe(24)

    def authenticate(self, exchange: Exchange) -> None:
        """Fill in who calls. Raises AwsError, when enforcing, for a signature that is not taken."""
        if self.mode is Mode.OFF:
            return
        environ, now = exchange.environ, dt.datetime.now(dt.UTC)
        exchange.signed = found = signatures.signed(environ)
        if found is None:
            return
        try:
            exchange.identity = self._verified(exchange, found, now)
        except signatures.Wrong as wrong:
            message = None if wrong.code == signatures.UNKNOWN else str(wrong)
            error = denials.unauthenticated(exchange.service, exchange.protocol, wrong.code, message)
            who = f"the access key {found.key}"
            self._deny(Denial(who, exchange.operation, "-", "-", None, error.message), error)

    def _verified(self, exchange: Exchange, found: signatures.Signed, now: dt.datetime) -> Identity | None:
        environ = exchange.environ
        if found.key == self._own_key:
            signatures.verify(found, self._own_secret, None, environ, exchange.sent, now)
            exchange.trusted = True
            return None
        identity = self.identities.find(found.key)
        if identity is None:
            raise signatures.Wrong(signatures.UNKNOWN, "")
        signatures.verify(found, identity.secret, identity.token, environ, exchange.sent, now)
        if identity.expires is not None and identity.expires < now:
            raise signatures.Wrong(signatures.EXPIRED, denials.SENTENCES[signatures.EXPIRED])
        return identity

    def authorise(self, exchange: Exchange) -> None:
        """Raise AwsError, when enforcing, for a call that IAM forbids."""
        if self.mode is Mode.OFF or exchange.trusted:
            return
        documents.check(exchange.service, exchange.operation, exchange.params)
        try:
            self._authorise(exchange)
        except AwsError:
            raise
        except Exception:
            if self.mode is Mode.ENFORCE:
                raise
            log.exception("audit: %s of %s could not be decided on", exchange.operation, exchange.service)

    def _authorise(self, exchange: Exchange) -> None:
        call = Call(exchange.service, exchange.operation, exchange.params, exchange.account, exchange.region)
        identity = exchange.identity
        if identity is None and exchange.signed is not None:
            return  # an audit has said already that nobody is known by this key
        who = identity.principal.arn if identity is not None else denials.ANONYMOUS
        try:
            asked = questions(call)
        except KeyError:
            said = f"The local AWS's IAM knows no action of {exchange.operation} of {exchange.service}, and denies it"
            denial = Denial(who, exchange.operation, "an action that no table has", "*", None, said)
            self._deny(denial, AwsError("AccessDeniedException", said + ".", status=403))
            return
        if identity is None and exchange.service != "s3":
            # S3's and Lambda's policies may let everybody in; other services ask for a signature first.
            error = denials.unauthenticated(exchange.service, exchange.protocol, "unsigned")
            self._deny(Denial(who, exchange.operation, "-", "-", None, error.message), error)
            return
        if (call.service, call.operation) == ("s3", "DeleteObjects"):
            # AWS: S3 API reference, DeleteObjects: of each object, whether it was deleted, or why it was not.
            found = {(each.action, each.resource): self._refusal(exchange, call, each) for each in asked}
            exchange.denied = {what: error for what, error in found.items() if error is not None}
            return
        for question in self._with_profile(exchange, asked):
            self.ask(exchange, call, question)

    def ask(self, exchange: Exchange, call: Call, question: Question) -> None:
        """Raise AwsError, when enforcing, where the caller may not do one thing."""
        error = self._refusal(exchange, call, question)
        if error is not None:
            raise error

    def _refusal(self, exchange: Exchange, call: Call, question: Question) -> AwsError | None:
        """The error, when enforcing, of a caller who may not do one thing; it is remembered."""
        if self.mode is Mode.OFF or exchange.trusted:
            return None
        came = functools.partial(self._way, exchange)
        return self.refusal(call, question, exchange.identity, came, exchange.protocol)

    def refusal(
        self, call: Call, question: Question, identity: Identity | None, came: Callable[[], Way], protocol: str
    ) -> AwsError | None:
        """The error, when enforcing, of somebody who may not do one thing, however he calls; it is remembered."""
        who = identity.principal.arn if identity is not None else denials.ANONYMOUS
        keys = self._keys(call, question, identity, came)
        decision = self._decide(question, identity, keys)
        if identity is not None:
            asked = Asked(question.action, question.resource, _values(identity, question.action, keys))
            self.journal.ask(identity.principal.role_arn or who, asked, decision.allowed)
        if decision.allowed:
            return None
        error = denials.denied(call.service, protocol, who, question.action, question.resource, decision)
        said = denials.sentence(who, question.action, question.resource, decision)
        denial = Denial(who, call.operation, question.action, question.resource, decision, said)
        return self._remembered(denial, error)

    def _keys(self, call: Call, question: Question, identity: Identity | None, came: Callable[[], Way]) -> Keys:
        return Keys(call, question, identity.asker if identity is not None else None, came, self.holdings.tags)

    def _decide(self, question: Question, identity: Identity | None, keys: Keys) -> Decision:
        """Whether an identity, or somebody who has not signed, may do one thing."""
        policy = self.holdings.policy(question.action, question.resource)
        return self._decisions.decide(question, identity, keys, policy)

    def acting(self, role: str, service: str, session: str) -> Acting:
        """A role as one of AWS's services has taken it, to be asked before each call in its name."""
        return Acting(self, role, service, session)

    def may(self, exchange: Exchange, action: str, resource: str) -> bool:
        """Whether the caller may do something else, too."""
        if self.mode is not Mode.ENFORCE or exchange.trusted:
            return True
        call = Call(exchange.service, exchange.operation, {}, exchange.account, exchange.region)
        question = Question(action, resource, {})
        keys = self._keys(call, question, exchange.identity, functools.partial(self._way, exchange))
        return self._decide(question, exchange.identity, keys).allowed

    def _way(self, exchange: Exchange) -> Way:
        environ, signed = exchange.environ, exchange.signed
        via, _, secret = environ.get(environ_key(CALLED_VIA), "").partition(" ")
        secure = self.loopback_is_tls or environ.get("wsgi.url_scheme") == "https"
        return Way(
            environ.get("REMOTE_ADDR", ""), environ.get("HTTP_USER_AGENT", ""), secure, dt.datetime.now(dt.UTC),
            signed.way if signed else "", signed.version if signed else "", exchange.headers,
            via if secret == self.via_secret else "",
        )  # fmt: skip

    @staticmethod
    def way_of(service: str, via: str = "") -> Way:
        """How one of AWS's services calls another: with TLS, from no address of the customer's.

        Parameters: `via` is the service when it calls on somebody else's behalf.
        """
        return Way("", service, True, dt.datetime.now(dt.UTC), "REST-HEADER", "AWS4-HMAC-SHA256", {}, via)

    def _with_profile(self, exchange: Exchange, asked: list[Question]) -> list[Question]:
        """An instance profile hands its role to EC2."""
        profile = exchange.params.get("IamInstanceProfile") if exchange.service == "ec2" else None
        if not isinstance(profile, dict):
            return asked
        role = self.identities.profile_role(profile.get("Arn") or profile.get("Name") or "")
        keys = {"iam:passedtoservice": ("ec2.amazonaws.com",)}
        return [*asked, Question("iam:PassRole", role, keys)] if role else asked

    def _deny(self, denial: Denial, error: AwsError) -> None:
        """Remember it, and raise the error when enforcing."""
        found = self._remembered(denial, error)
        if found is not None:
            raise found

    def _remembered(self, denial: Denial, error: AwsError) -> AwsError | None:
        """Remember it under the id that the answer has; the error when enforcing."""
        request_id = str(uuid.uuid4())
        self.journal.deny(request_id, denial)
        log.warning("%s: %s (iam explain %s)", self.mode, denial.sentence, request_id)
        error.request_id = request_id
        return error if self.mode is Mode.ENFORCE else None


def _values(identity: Identity, action: str, keys: Keys) -> Values:
    """What a call says to the condition keys that its caller's own policies ask about."""
    names = identity.keys(action)
    if not names:
        return ()
    found = ((name, keys.get(name)) for name in names)
    return tuple((name, values) for name, values in found if values is not None)
