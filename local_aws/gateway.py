"""The WSGI application in front of everything: each call walks the stages of `pipeline/`, and who owns it answers.

An operation of our own is answered by its service, every other one by moto; an own one may hand a resource that moto
keeps on to it (`FORWARD`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from typing import Any

from local_aws import control, wire
from local_aws.aws import OWN_ACCESS_KEY, LocalAws
from local_aws.errors import AwsError
from local_aws.functions.urls import PREFIX
from local_aws.iam.mode import Mode
from local_aws.pipeline import decode, identify
from local_aws.pipeline.authorise import authenticate, authorise
from local_aws.pipeline.exchange import Exchange
from local_aws.pipeline.plan import Plan
from local_aws.pipeline.reads import Reads
from local_aws.pipeline.trace import Trace
from local_aws.s3.front import Front, is_for_s3, refusal
from local_aws.services.base import FORWARD, Call, FastPath, RawRequest
from local_aws.services.lambda_urls import LambdaUrls
from local_aws.state.gate import Shut
from local_aws.upstream import Upstream

log = logging.getLogger(__name__)

# By which moto is told to forget all, and knows nothing of what the services here keep. Moto takes a path for its own
# that only begins with it.
MOTO_API = "/moto-api"
CLOSED = json.dumps({
    "__type": "AccessDeniedException",
    "message": "moto's own API is closed in the local AWS; for an empty AWS, start it with another folder by --state.",
}).encode()  # fmt: skip

# Whose resources live in the one region of the daemon; moto keeps its own for each region.
OF_ONE_REGION = {
    "sagemaker", "sagemaker-runtime", "lambda", "cloudwatch", "application-autoscaling", "service-quotas",
}  # fmt: skip
STATUS = {
    200: "200 OK",
    201: "201 Created",
    202: "202 Accepted",
    204: "204 No Content",
    400: "400 Bad Request",
    403: "403 Forbidden",
    404: "404 Not Found",
    429: "429 Too Many Requests",
}


class Gateway:
    """The WSGI application."""

    def __init__(self, aws: LocalAws) -> None:
        self.aws = aws
        self.upstream = Upstream(aws)
        self.trace, self.reads = Trace(), Reads()
        self.own: dict[tuple[str, str], Callable[[Call], dict[str, Any] | None]] = {}
        self.fast: dict[str, list[FastPath]] = {}
        self._plans: dict[tuple[str, str, str], Plan] = {}
        for service in aws.services:
            self.own.update({(service.name, name): method for name, method in service.operations().items()})
            for path in service.fast_paths():
                self.fast.setdefault(path.method, []).append(path)
        decides = aws.iam.mode is Mode.ENFORCE
        self.s3 = Front(aws.store, {name for service, name in self.own if service == "s3"}, iam_decides=decides)
        self.raw = {(path.service, path.operation): path for paths in self.fast.values() for path in paths}
        self.raw = {named: path for named, path in self.raw.items() if named not in self.own}

    def __call__(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        exchange = Exchange(environ, self.aws.account, self.aws.region)
        try:
            signed_as = identify.caller(exchange)
            for route in self.fast.get(environ["REQUEST_METHOD"], ()):
                match = route.pattern.fullmatch(path)
                if match and signed_as in (None, route.signing_name):
                    return self._fast(exchange, route, match.groups(), start_response)
            if path.startswith(control.PREFIX):
                return self._control(environ, start_response)
            if path.startswith(PREFIX):
                answer = self.aws.service(LambdaUrls).answer(exchange, signed_as)
                return _answer(start_response, answer.status, answer.headers, answer.body)
            if path.startswith(MOTO_API):
                return _answer(start_response, 403, [("Content-Type", "application/json")], CLOSED)
            # Moto reads the path before percent-decoding under gunicorn's name for it.
            environ.setdefault("RAW_URI", environ.get("REQUEST_URI", path))
            if is_for_s3(signed_as, environ) and (answer := self._object(exchange, start_response)) is not None:
                return answer
            identify.identify(exchange, signed_as)
            exchange.stages.append("identify")
            return self._gated(exchange, start_response)
        except AwsError as error:
            return self._refused(exchange, error, start_response)
        except Exception as error:
            log.exception("%s failed", exchange.operation or f"{environ['REQUEST_METHOD']} {path}")
            failure = AwsError("InternalFailure", f"The local AWS failed: {error}", status=500)
            return self._refused(exchange, failure, start_response)
        finally:
            if self.trace and exchange.service:
                self.trace.write(exchange)

    def _control(self, environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        method, path, authorization = (environ.get(each, "") for each in ("REQUEST_METHOD", "PATH_INFO",
                                                                           "HTTP_AUTHORIZATION"))  # fmt: skip
        status, answer = control.answer(self.aws, method, path, body, authorization)
        return _answer(start_response, status, [("Content-Type", "application/json")], json.dumps(answer).encode())

    def _plan(self, service: str, operation: str, protocol: str) -> Plan:
        key = (service, operation, protocol)
        plan = self._plans.get(key)
        if plan is None:
            handler = self.own.get((service, operation)) or self.raw.get((service, operation))
            plan = self._plans[key] = Plan(service, operation, protocol, handler)
        return plan

    def _fast(
        self, exchange: Exchange, route: FastPath, groups: tuple[str, ...], start_response: Callable
    ) -> Iterable[bytes]:
        """One of the routes that are found by one pattern."""
        exchange.service, exchange.operation, exchange.protocol = route.service, route.operation, "rest-json"
        exchange.groups = dict(zip(route.members, groups, strict=True))
        exchange.stages.append("identify")
        plan = exchange.plan = self._plan(route.service, route.operation, "rest-json")
        return self._raw(exchange, plan, route, start_response)

    def _raw(self, exchange: Exchange, plan: Plan, route: FastPath, start_response: Callable) -> Iterable[bytes]:
        """A data-plane operation, whose answer is written by its handler; it is never held back by a save."""
        self._understand(exchange, plan)
        exchange.stages.append("dispatch")
        exchange.owner = "own"
        answer = route.handler(RawRequest(exchange.groups | exchange.params, exchange.headers, exchange.body or b""))
        exchange.status = answer.status
        return _answer(start_response, answer.status, answer.headers, answer.body)

    def _object(self, exchange: Exchange, start_response: Callable) -> Iterable[bytes] | None:
        """The answer to a call about objects, which is one transaction of their index; None when it is moto's.

        No save holds it back: an object is kept before its call is answered.
        """
        exchange.service, exchange.protocol = "s3", "rest-xml"
        exchange.request = self.s3.identify(exchange.environ)
        if exchange.request is None:
            return None
        exchange.operation = exchange.request.name
        exchange.stages.append("identify")
        plan = exchange.plan = self._plan("s3", exchange.operation, "rest-xml")
        self._understand(exchange, plan)
        exchange.stages.append("dispatch")
        exchange.owner = "own"
        try:
            exchange.status, body = self.s3.answer(
                exchange.environ, start_response, self._call(exchange, plan), exchange.request, plan.handler
            )
            if self.reads:
                self.reads.done(plan.service, plan.model, exchange.params)
        except AwsError as error:
            # AWS: S3 API reference, HeadObject: that there is no object is for those to know who may list.
            bucket = f"arn:aws:s3:::{exchange.request.bucket}"
            if error.code == "NoSuchKey" and not self.aws.iam.may(exchange, "s3:ListBucket", bucket):
                raise AwsError("AccessDenied", "Access Denied", status=403) from None
            raise
        return body

    def _gated(self, exchange: Exchange, start_response: Callable) -> Iterable[bytes]:
        """Answer the call as a whole before or after a save."""
        plan = exchange.plan = self._plan(exchange.service, exchange.operation, exchange.protocol)
        route = self.raw.get((plan.service, plan.name))
        if route is not None:
            return self._raw(exchange, plan, route, start_response)
        self._understand(exchange, plan)
        if exchange.access_key == OWN_ACCESS_KEY or exchange.only_reads:
            # The daemon's own calls are part of a call that is inside, or read.
            return self._dispatch(exchange, plan, start_response)
        try:
            with self.aws.saver.gate.call():
                return self._dispatch(exchange, plan, start_response)
        except Shut:
            raise AwsError("ServiceUnavailable", "The local AWS is shutting down.", status=503) from None

    def _understand(self, exchange: Exchange, plan: Plan) -> None:
        """The stages between identification and dispatch."""
        done = exchange.stages.append
        authenticate(exchange, self.aws.iam)
        done("authenticate")
        if plan.raw:
            if not plan.streamed:
                body = decode.read(exchange)
                if plan.handler is None:
                    exchange.replace_body(body)
        elif not plan.streamed:
            decode.whole(exchange)
        done("decode")
        exchange.params = plan.parse(exchange)
        done("parse")
        if plan.check is not None:
            plan.check(exchange.params)
        if plan.refuse is not None:
            plan.refuse(exchange.params)
        if plan.tags is not None:
            plan.tags(exchange.params)
        done("validate")
        exchange.resources = plan.resources(exchange.params, exchange.account, exchange.region)
        done("resources")
        if plan.handler is not None and plan.service in OF_ONE_REGION and exchange.region != self.aws.region:
            raise AwsError(
                "UnsupportedOperation",
                f"The local AWS answers {plan.name} of {plan.service} in {self.aws.region} alone, not in "
                f"{exchange.region}: what lives there is kept apart.",
            )
        if plan.handler is None:
            # Of what nobody answers it is said so, and not that IAM knows no action of it.
            self.upstream.check(plan)
        authorise(exchange, self.aws.iam)
        done("authorise")

    def _dispatch(self, exchange: Exchange, plan: Plan, start_response: Callable) -> Iterable[bytes]:
        exchange.stages.append("dispatch")
        if plan.handler is not None:
            answer = self._own(exchange, plan)
            if answer is not FORWARD:
                exchange.owner = "own"
                response = wire.serialise(plan.model, answer, exchange.protocol)
                exchange.status = response.status_code
                return response(exchange.environ, start_response)
        exchange.owner = "moto"
        return self.upstream.answer(exchange, plan, start_response)

    def _own(self, exchange: Exchange, plan: Plan) -> Any:
        """What our own operation says: its answer, its error, or FORWARD where moto keeps the resource."""
        try:
            answer: Any = plan.handler(self._call(exchange, plan)) or {}
            if self.reads and answer is not FORWARD:
                self.reads.done(plan.service, plan.model, exchange.params)
            if answer is not FORWARD and not plan.reads:
                self.aws.saver.changed()
        except AwsError as error:
            return error
        except OSError as error:
            log.exception("%s failed", plan.name)
            return AwsError("InternalFailure", f"{plan.name}: {error.strerror or error}", status=500)
        except Exception as error:
            log.exception("%s failed", plan.name)
            return AwsError("InternalFailure", f"{plan.name} failed inside the local AWS: {error}", status=500)
        return answer

    def _call(self, exchange: Exchange, plan: Plan) -> Call:
        params = exchange.params
        return Call(
            service=exchange.service,
            operation=exchange.operation,
            params=self.reads.wrapped(plan.service, plan.model, params) if self.reads else params,
            account=exchange.account,
            region=exchange.region,
            access_key=exchange.access_key,
            headers=exchange.headers if exchange.request is None else exchange.request.headers,
            denied=exchange.denied,
        )

    @staticmethod
    def _refused(exchange: Exchange, error: AwsError, start_response: Callable) -> Iterable[bytes]:
        if not exchange.service:
            body = json.dumps({"__type": error.code, "message": error.message}).encode()
            headers = [("Content-Type", "application/json"), ("x-amzn-ErrorType", error.code)]
            return _answer(start_response, error.status, headers, body)
        if exchange.service == "s3":
            exchange.status = error.status
            return refusal(start_response, error, exchange.environ)
        model = exchange.plan.model if exchange.plan else None
        response = wire.serialise_error(exchange.service, error, exchange.protocol, model)
        exchange.status = response.status_code
        return response(exchange.environ, start_response)


def _answer(start_response: Callable, status: int, headers: list[tuple[str, str]], body: bytes) -> list[bytes]:
    start_response(STATUS.get(status, f"{status} Status"), [*headers, ("Content-Length", str(len(body)))])
    return [body]
