"""Lambda's function URLs: an address of its own for a function, for callers who have signed with IAM."""

from __future__ import annotations

import datetime as dt
import json
import secrets
import uuid
from typing import Any

from local_aws.errors import AwsError
from local_aws.functions import urls
from local_aws.functions.concurrency import Throttled
from local_aws.functions.records import Function, conflict, stamp
from local_aws.functions.urls import Address, Caller
from local_aws.iam import signatures
from local_aws.iam.asked import Call as Asked
from local_aws.iam.asked import Question
from local_aws.iam.mode import Mode
from local_aws.pipeline.exchange import Exchange
from local_aws.services.base import Call, RawResponse, Service
from local_aws.services.lambda_ import Lambda, page

# Both are asked for. Source: Lambda developer guide, "Control access to Lambda function URLs".
ACTIONS = {
    "lambda:InvokeFunctionUrl": {"lambda:functionurlauthtype": (urls.AUTH_TYPE,)},
    "lambda:InvokeFunction": {"lambda:invokedviafunctionurl": ("true",)},
}
LARGEST = 6 * 1024 * 1024


class LambdaUrls(Service):
    """Addresses with AuthType AWS_IAM; one that answers everybody is refused here."""

    name = "lambda"

    def __init__(self, aws) -> None:
        super().__init__(aws)
        self._addresses: dict[str, Address] = {}

    @property
    def functions(self) -> Lambda:
        return self.aws.service(Lambda)

    def start(self) -> None:
        self.functions.deleted.append(self._forget)

    def remember(self) -> list[dict[str, Any]]:
        return [each.kept() for each in self._addresses.values()]

    def restore(self, kept: list[dict[str, Any]], saved_at: dt.datetime) -> None:
        self._addresses = {each["id"]: Address(**each) for each in kept}

    # --- operations

    def create_function_url_config(self, call: Call) -> dict[str, Any]:
        function, qualifier = self._place(call)
        if self._of(function, qualifier) is not None:
            raise conflict(
                f"Failed to create function url config for [functionArn = {_arn(function, qualifier)}]. Error message: "
                " FunctionUrlConfig exists for this Lambda function"
            )
        now = stamp()
        address = Address(secrets.token_hex(16), function.name, qualifier, now, now)
        self._addresses[address.id] = address
        answer = self._described(function, address, call)
        del answer["LastModifiedTime"]
        return answer

    def get_function_url_config(self, call: Call) -> dict[str, Any]:
        function, address = self._found(call)
        return self._described(function, address, call)

    def update_function_url_config(self, call: Call) -> dict[str, Any]:
        function, address = self._found(call)
        changed = Address(**{**address.kept(), "modified": stamp()})
        self._addresses[address.id] = changed
        return self._described(function, changed, call)

    def delete_function_url_config(self, call: Call) -> None:
        _, address = self._found(call)
        del self._addresses[address.id]

    def list_function_url_configs(self, call: Call) -> dict[str, Any]:
        function, _ = self.functions.resolve(call)
        found = [
            self._described(function, each, call)
            for each in list(self._addresses.values())
            if each.function == function.name and self._stands(function, each)
        ]
        return page(found, call, "FunctionUrlConfigs")

    # --- a request to an address

    def answer(self, exchange: Exchange, signed_as: str | None) -> RawResponse:
        """Run the function for a request whose caller has signed it and may do so."""
        identifier, _, rest = exchange.environ["PATH_INFO"].removeprefix(urls.PREFIX).partition("/")
        address = self._addresses.get(identifier)
        function = address and self.functions.functions.get(address.function)
        if address is None or function is None or not self._stands(function, address):
            return _told(404, "Not Found")
        try:
            caller = self._caller(exchange, signed_as, _arn(function, address.qualifier))
        except (AwsError, signatures.Wrong) as error:
            return _told(403, str(getattr(error, "message", error)))
        if len(body := exchange.sent()) > LARGEST:
            return _told(413, "Request must be smaller than 6291456 bytes for the InvokeFunction operation")
        version, request = function.version(address.qualifier, draw=True), str(uuid.uuid4())
        event = urls.event(
            exchange.environ, address, f"/{rest}", body, account=self.aws.account, caller=caller, request=request
        )
        arn = _arn(function, address.qualifier)
        try:
            result, _ = self.functions.invocations.run(version, address.qualifier, arn, event, request)
        except Throttled as throttled:
            more = {"Reason": throttled.reason, "Type": "User", "message": "Rate Exceeded."}
            return RawResponse(429, [urls.JSON], json.dumps(more).encode())
        status, headers, content = (502, [urls.JSON], urls.INTERNAL) if result.error else urls.answer(result.payload)
        return RawResponse(status, [*headers, ("x-amzn-RequestId", request)], content)

    def _caller(self, exchange: Exchange, signed_as: str | None, arn: str) -> Caller:
        """Who has signed. Raises AwsError or Wrong where nobody has, or who may not.

        An address is never open, whatever `--iam` says. While nobody looks at permissions, an unknown key is taken, as
        it is for every other call; the signature of a known one has to be right.
        """
        found = signatures.signed(exchange.environ)
        if found is None:
            raise AwsError("AccessDeniedException", urls.FORBIDDEN, status=403)
        if signed_as != "lambda":
            raise AwsError(
                "AccessDeniedException", "Credential should be scoped to correct service: 'lambda'.", status=403
            )
        authority = self.aws.iam
        exchange.service, exchange.operation, exchange.protocol = "lambda", "Invoke", "rest-json"
        authority.authenticate(exchange)
        identity = exchange.identity or authority.identities.find(found.key)
        if authority.mode is Mode.OFF and identity is not None:
            signatures.verify(
                found, identity.secret, identity.token, exchange.environ, exchange.sent, dt.datetime.now(dt.UTC)
            )
        asked = Asked("lambda", "Invoke", {"FunctionName": arn}, exchange.account, exchange.region)
        for action, keys in ACTIONS.items():
            authority.ask(exchange, asked, Question(action, arn, keys))
        if identity is None:
            return Caller(found.key)
        return Caller(found.key, identity.principal.arn or "", identity.asker.user_id)

    # --- inside

    def _place(self, call: Call) -> tuple[Function, str | None]:
        """The function and the alias, if there is one: the model lets no version through."""
        function, qualifier = self.functions.resolve(call)
        function.version(qualifier)
        return function, qualifier

    def _of(self, function: Function, qualifier: str | None) -> Address | None:
        for each in list(self._addresses.values()):
            if (each.function, each.qualifier) == (function.name, qualifier):
                return each
        return None

    def _found(self, call: Call) -> tuple[Function, Address]:
        function, qualifier = self._place(call)
        address = self._of(function, qualifier)
        if address is None:
            message = "The resource you requested does not exist."
            raise AwsError("ResourceNotFoundException", message, status=404, Type="User")
        return function, address

    @staticmethod
    def _stands(function: Function, address: Address) -> bool:
        return address.qualifier is None or address.qualifier in function.aliases

    def _described(self, function: Function, address: Address, call: Call) -> dict[str, Any]:
        return {
            "FunctionUrl": f"{self.aws.url_for(call.headers)}{urls.PREFIX}{address.id}/",
            "FunctionArn": _arn(function, address.qualifier),
            "AuthType": urls.AUTH_TYPE,
            "CreationTime": address.created,
            "LastModifiedTime": address.modified,
            "InvokeMode": urls.INVOKE_MODE,
        }

    def _forget(self, name: str) -> None:
        self._addresses = {key: each for key, each in self._addresses.items() if each.function != name}


def _arn(function: Function, qualifier: str | None) -> str:
    return f"{function.arn}:{qualifier}" if qualifier else function.arn


def _told(status: int, message: str) -> RawResponse:
    return RawResponse(status, [urls.JSON], json.dumps({"Message": message}).encode())
