"""Moto, behind the gateway: it answers what is not ours, of the service that the call was identified as."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from moto.moto_server import werkzeug_app

from local_aws import managed_policies, wire
from local_aws.aws import LocalAws
from local_aws.ec2 import images
from local_aws.errors import AwsError
from local_aws.pipeline.exchange import Exchange
from local_aws.pipeline.identify import CBOR
from local_aws.pipeline.plan import Plan
from local_aws.support import implemented_by_moto, supported_by_moto

log = logging.getLogger(__name__)


class Upstream:
    """Moto as one WSGI application a service."""

    def __init__(self, aws: LocalAws) -> None:
        self.aws = aws
        # Else every answer would let every web page read it.
        werkzeug_app.DISABLE_GLOBAL_CORS = True
        managed_policies.teach_moto()
        images.teach_moto()
        self.moto = werkzeug_app.DomainDispatcherApplication(werkzeug_app.create_backend_app)

    def answer(self, exchange: Exchange, plan: Plan, start_response: Callable) -> Iterable[bytes]:
        """What moto says. Raises AwsError for what it does not have, or would only make up."""
        self.check(plan)
        if plan.service == "cloudformation":
            from local_aws.stacks import stack_sets

            stack_sets.teach_moto()
        elif plan.service == "iam":
            managed_policies.load_when_asked(exchange.account, plan.name, exchange.params)
        elif plan.service == "ec2":
            images.load_when_asked(exchange.account, exchange.region, plan.name, exchange.params)
        environ = exchange.environ
        if not (plan.reads or exchange.only_reads):
            self.aws.saver.changed()
        if environ.get("HTTP_AUTHORIZATION") is None and plan.service != "s3":
            # By its scope moto finds the service, and would take the call for S3's without one.
            scope = f"{exchange.access_key or 'unsigned'}/20260101/{exchange.region}/{_signing_name(plan)}/aws4_request"
            environ["HTTP_AUTHORIZATION"] = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
        if exchange.protocol == CBOR:
            return self._transcribed(exchange, plan, start_response)
        status, headers, body = self._ask(exchange, plan)
        if plan.service == "s3" and not exchange.only_reads:
            # A bucket is kept before its call is answered.
            self.aws.store.buckets.keep()
        exchange.status = int(status.split()[0])
        start_response(status, headers)
        return body

    @staticmethod
    def check(plan: Plan) -> None:
        """Raise AwsError for what moto does not have, or would only make up."""
        # What one of our own operations hands on is about a resource that moto keeps.
        known = (implemented_by_moto if plan.handler is not None else supported_by_moto)(plan.service)
        if plan.service != "s3" and (known is None or plan.name not in known):
            raise unsupported(plan.service, plan.name)

    def _ask(self, exchange: Exchange, plan: Plan) -> tuple[str, list[tuple[str, str]], Iterable[bytes]]:
        caught: list[Any] = []

        def catch(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            caught[:] = [status, headers]

        environ = exchange.environ
        try:
            body = self.moto.get_application(environ)(environ, catch)
        except Exception as error:
            # Moto's own way to say that it does not know something, besides an HTML page.
            log.debug("moto: %s", error)
            raise unsupported(plan.service, plan.name) from error
        status, headers = caught
        content_type = next((value for name, value in headers if name.lower() == "content-type"), "")
        # S3 answers a HEAD of a missing object with 404 and no body, whatever its type.
        not_known = ("500", "501") if plan.service == "s3" else ("500", "501", "404")
        if status.startswith(not_known) and "html" in content_type:
            # Moto knows nothing of this: an HTML page would reach the user as a parser's traceback.
            raise unsupported(plan.service, plan.name)
        return status, headers, body

    def _transcribed(self, exchange: Exchange, plan: Plan, start_response: Callable) -> Iterable[bytes]:
        """Moto speaks no CBOR: it is asked in JSON."""
        request = create_serializer("json", False).serialize_to_request(exchange.params, plan.model)
        environ = exchange.environ
        body = request["body"]
        exchange.replace_body(body.encode() if isinstance(body, str) else body)
        environ.update(PATH_INFO="/", RAW_URI="/", CONTENT_TYPE=request["headers"]["Content-Type"])
        environ["HTTP_X_AMZ_TARGET"] = request["headers"]["X-Amz-Target"]
        for name in ("HTTP_SMITHY_PROTOCOL", "HTTP_ACCEPT"):
            environ.pop(name, None)
        status, headers, pieces = self._ask(exchange, plan)
        exchange.status = int(status.split()[0])
        answered = {"status_code": exchange.status, "headers": dict(headers), "body": b"".join(pieces)}
        found = create_parser("json").parse(answered, plan.model.output_shape)
        if exchange.status >= 300:
            raise AwsError(found["Error"]["Code"], found["Error"].get("Message", ""), status=exchange.status)
        found.pop("ResponseMetadata", None)
        return wire.serialise(plan.model, found, CBOR)(environ, start_response)


def _signing_name(plan: Plan) -> str:
    metadata = plan.model.service_model.metadata
    return metadata.get("signingName", metadata["endpointPrefix"])


def unsupported(service: str, operation: str) -> AwsError:
    """The error for an operation that nobody here supports."""
    return AwsError(
        "UnsupportedOperation",
        f"The local AWS does not support {operation} of {service}; `python -m local_aws support` lists what it does.",
    )
