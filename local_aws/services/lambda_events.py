"""Lambda's operations on how events are handled that nobody waits for."""

from __future__ import annotations

import datetime as dt
import threading
from typing import Any

from local_aws.errors import AwsError
from local_aws.functions.code import invalid
from local_aws.functions.invocations import EventSettings
from local_aws.functions.records import LATEST, Function
from local_aws.services.base import Call, Service
from local_aws.services.lambda_ import Lambda, page


class LambdaEvents(Service):
    """Event invoke configurations: how often and how long a failed event is tried again.

    Source: Lambda developer guide, "Configuring error handling settings for asynchronous invocations".
    """

    name = "lambda"

    def __init__(self, aws) -> None:
        super().__init__(aws)
        self._settings: dict[tuple[str, str], EventSettings] = {}
        self._lock = threading.Lock()

    def start(self) -> None:
        self.functions.invocations.event_settings = self.settings
        self.functions.deleted.append(self.forget)

    def remember(self) -> dict[tuple[str, str], EventSettings]:
        with self._lock:
            return dict(self._settings)

    def restore(self, kept: dict[tuple[str, str], EventSettings], saved_at: dt.datetime) -> None:
        self._settings = kept

    @property
    def functions(self) -> Lambda:
        return self.aws.service(Lambda)

    def settings(self, function: str, qualifier: str | None) -> EventSettings:
        """What holds for the events of a function, a version or an alias."""
        return self._settings.get((function, qualifier or LATEST)) or EventSettings()

    def put_function_event_invoke_config(self, call: Call) -> dict[str, Any]:
        return self._change(call, EventSettings())

    def update_function_event_invoke_config(self, call: Call) -> dict[str, Any]:
        function, key = self._named(call)
        return self._change(call, self._found(function, key))

    def _change(self, call: Call, old: EventSettings) -> dict[str, Any]:
        function, key = self._named(call)
        function.version(key[1])
        destinations = call.params.get("DestinationConfig") or {}
        if any((destinations.get(side) or {}).get("Destination") for side in ("OnSuccess", "OnFailure")):
            raise invalid("DestinationConfig: the local AWS sends what came of an event nowhere; leave it out.")
        settings = EventSettings(
            call.params.get("MaximumRetryAttempts", old.attempts),
            call.params.get("MaximumEventAgeInSeconds", old.age),
            dt.datetime.now(dt.UTC),
        )
        with self._lock:
            self._settings[key] = settings
        return _describe(function, key[1], settings)

    def get_function_event_invoke_config(self, call: Call) -> dict[str, Any]:
        function, key = self._named(call)
        return _describe(function, key[1], self._found(function, key))

    def delete_function_event_invoke_config(self, call: Call) -> None:
        function, key = self._named(call)
        self._found(function, key)
        with self._lock:
            self._settings.pop(key, None)

    def list_function_event_invoke_configs(self, call: Call) -> dict[str, Any]:
        function, _ = self.functions.resolve(call)
        found = [
            _describe(function, qualifier, settings)
            for (name, qualifier), settings in sorted(self._settings.items())
            if name == function.name
        ]
        return page(found, call, "FunctionEventInvokeConfigs")

    def forget(self, function: str) -> None:
        """A function is gone, and its configurations with it."""
        with self._lock:
            self._settings = {key: each for key, each in self._settings.items() if key[0] != function}

    def _named(self, call: Call) -> tuple[Function, tuple[str, str]]:
        function, qualifier = self.functions.resolve(call)
        return function, (function.name, qualifier or LATEST)

    def _found(self, function: Function, key: tuple[str, str]) -> EventSettings:
        if key not in self._settings:
            raise AwsError(
                "ResourceNotFoundException",
                f"The function {function.arn}:{key[1]} doesn't have an EventInvokeConfig",
                status=404,
                Type="User",
            )
        return self._settings[key]


def _describe(function: Function, qualifier: str, settings: EventSettings) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "LastModified": settings.modified,
        "FunctionArn": f"{function.arn}:{qualifier}",
        "DestinationConfig": {"OnSuccess": {}, "OnFailure": {}},
    }
    if settings.attempts is not None:
        answer["MaximumRetryAttempts"] = settings.attempts
    if settings.age is not None:
        answer["MaximumEventAgeInSeconds"] = settings.age
    return answer
