"""Lambda: functions and Invoke; the other operations are in the modules beside it, one for each subject."""

from __future__ import annotations

import datetime as dt
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from local_aws.errors import AwsError
from local_aws.functions.code import Code, fetched, invalid
from local_aws.functions.concurrency import ACCOUNT_LIMIT, Concurrency
from local_aws.functions.invocations import Invocations
from local_aws.functions.layers import Layers
from local_aws.functions.provisioned import ProvisionedRecord
from local_aws.functions.records import (
    LATEST,
    SETTLE_SECONDS,
    Function,
    Version,
    conflict,
    not_found,
    parse_reference,
)
from local_aws.functions.settings import SETTINGS, check
from local_aws.iam.presigned import presigned
from local_aws.services.base import Call, FastPath, RawRequest, RawResponse, Service


class Lambda(Service):
    """Functions that really run, each call in a process of AWS's own runtime client."""

    name = "lambda"

    def __init__(self, aws) -> None:
        super().__init__(aws)
        self.functions: dict[str, Function] = {}
        self.layers = Layers(aws.account, aws.region, aws.settings.state / "layers")
        self.lock = threading.RLock()
        self.concurrency = Concurrency(aws)
        self.invocations = Invocations(aws, self.concurrency, self.find)
        self.deleted: list[Callable[[str], None]] = []
        """Called with the name of a function that is gone."""
        self._stopping = threading.Event()
        self._provisioned: list[ProvisionedRecord] = []

    def fast_paths(self) -> Iterable[FastPath]:
        invoke = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")
        yield FastPath("POST", invoke, "lambda", "lambda", "Invoke", ("FunctionName",), self.invocations.invoke)
        # Where GetFunction says that the code is, as AWS says it with a presigned URL.
        code, named = re.compile(r"/_local_aws/functions/([^/]+)/([^/]+)/code.zip"), ("FunctionName", "Qualifier")
        yield FastPath("GET", code, "lambda", "lambda", "GetFunction", named, self._zip)

    def remember(self) -> dict[str, Any]:
        self.invocations.flush()
        return {
            "functions": self.functions,
            "provisioned": self.concurrency.provisioned.remember(),
            "concurrency_limit": self.concurrency.limit,
            "layers": self.layers.known,
        }

    def restore(self, kept: dict[str, Any], saved_at: dt.datetime) -> None:
        folder = self.aws.settings.state / "functions"
        self.functions = kept["functions"]
        self.concurrency.limit = kept.get("concurrency_limit", ACCOUNT_LIMIT)  # states of before know the first one
        self.layers.restored(kept.get("layers", {}))
        for function in self.functions.values():
            function.restored(folder / function.name)
            for version in function.versions.values():
                self.layers.attach(version)
            self.concurrency.register(function)
        self._provisioned = kept["provisioned"]
        used = {version.code.archive.parent for each in self.functions.values() for version in each.versions.values()}
        for unused in set(folder.glob("*/*")) - used:
            shutil.rmtree(unused, ignore_errors=True)

    def start(self) -> None:
        for each in self._provisioned:
            self.concurrency.provisioned.resume(self.functions[each.function], each)
        threading.Thread(
            target=self.invocations.flush_until, args=(self._stopping,), name="lambda-logs", daemon=True
        ).start()

    def every_minute(self, now: float) -> None:
        self.concurrency.expire()

    def stop(self) -> None:
        self._stopping.set()
        self.concurrency.stop()
        self.invocations.stop()

    def find(self, name: str, qualifier: str | None = None) -> Function:
        """A function by its name. Raises AwsError("ResourceNotFoundException")."""
        function = self.functions.get(name)
        if function is None:
            suffix = f":{qualifier}" if qualifier else ""
            raise not_found(f"arn:aws:lambda:{self.aws.region}:{self.aws.account}:function:{name}{suffix}")
        return function

    def resolve(self, call: Call) -> tuple[Function, str | None]:
        """The function and the qualifier that a call names."""
        name, qualifier = parse_reference(unquote(call.params["FunctionName"]), call.params.get("Qualifier"))
        return self.find(name, qualifier), qualifier

    # ---- functions

    def create_function(self, call: Call) -> dict[str, Any]:
        params = call.params
        name, _ = parse_reference(params["FunctionName"])
        if params.get("PackageType", "Zip") != "Zip" or "ImageUri" in params["Code"]:
            raise invalid(
                "The local AWS runs functions from a zip only: PackageType must be Zip, and Code a ZipFile "
                "or an S3 object."
            )
        for required in ("Runtime", "Handler"):
            if not params.get(required):
                raise invalid(f"{required} is mandatory for functions created with deployment packages.")
        settings = {key: params.get(key, default) for key, default in SETTINGS.items()}
        settings["LoggingConfig"] = {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{name}"}
        check(settings, self.aws.account)
        with self.lock:
            if name in self.functions:
                raise conflict(f"Function already exist: {name}")
            code = self.code(self._folder(name), params["Code"])
            settings["Layers"] = self.layers.checked(settings["Layers"] or [], code)
            function = Function(name, call.arn(f"function:{name}"), dict(params.get("Tags") or {}))
            function.versions[LATEST] = self._version(function, LATEST, code, settings)
            self.functions[name] = function
            self.concurrency.register(function)
            version = self.publish(function, None) if params.get("Publish") else function.latest
            return version.describe()

    def get_function(self, call: Call) -> dict[str, Any]:
        function, qualifier = self.resolve(call)
        version = function.version(qualifier)
        location = presigned(self.aws, call, f"/_local_aws/functions/{function.name}/{version.number}/code.zip")
        answer: dict[str, Any] = {
            "Configuration": version.describe(qualified=qualifier == LATEST),
            "Code": {"RepositoryType": "S3", "Location": location},
        }
        if function.tags:
            answer["Tags"] = function.tags
        if function.reserved is not None:
            answer["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved}
        return answer

    def get_function_configuration(self, call: Call) -> dict[str, Any]:
        function, qualifier = self.resolve(call)
        return function.version(qualifier).describe(qualified=qualifier == LATEST)

    def list_functions(self, call: Call) -> dict[str, Any]:
        functions = sorted(self.functions.values(), key=lambda each: each.name)
        if call.params.get("FunctionVersion") == "ALL":
            versions = [one for each in functions for one in each.versions.values()]
            return page([each.describe(qualified=True) for each in versions], call, "Functions")
        return page([each.latest.describe() for each in functions], call, "Functions")

    def update_function_code(self, call: Call) -> dict[str, Any]:
        function, _ = self.resolve(call)
        if "ImageUri" in call.params:
            raise invalid(
                "The local AWS runs functions from a zip only: give ZipFile, or S3Bucket and S3Key, not ImageUri."
            )
        with self.lock:
            self.check_update(function, call)
            code = self.code(self._folder(function.name), call.params, "UpdateFunctionCode")
            if not call.params.get("DryRun"):
                self._replace(function, code, function.latest.settings)
            version = self.publish(function, None) if call.params.get("Publish") else function.latest
            return version.describe()

    def update_function_configuration(self, call: Call) -> dict[str, Any]:
        function, _ = self.resolve(call)
        with self.lock:
            self.check_update(function, call)
            changed = {key: value for key, value in call.params.items() if key in SETTINGS and value is not None}
            settings = function.latest.settings | changed
            if call.params.get("Layers") is not None:
                settings["Layers"] = self.layers.checked(settings["Layers"], function.latest.code)
            check(settings, self.aws.account)
            self._replace(function, function.latest.code, settings)
            return function.latest.describe()

    def delete_function(self, call: Call) -> None:
        function, qualifier = self.resolve(call)
        if qualifier is None:
            with self.lock:
                self.functions.pop(function.name, None)
            self.concurrency.forget(function)
            for tell in self.deleted:
                tell(function.name)
            return
        if qualifier == LATEST:
            raise invalid("$LATEST version cannot be deleted without deleting the function.")
        with self.lock:
            version = function.version(qualifier)
            aliases = [
                each.name for each in function.aliases.values() if version.number in (each.version, *each.weights)
            ]
            if aliases:
                raise conflict(
                    f"Unable to delete version because the following aliases reference it: [{', '.join(aliases)}]"
                )
            del function.versions[qualifier]
        # CloudFormation deletes versions and aliases with provisioned concurrency by this operation alone: the
        # handlers of AWS::Lambda::Version and AWS::Lambda::Alias may call no other one (stacks/permissions.json).
        self.concurrency.provisioned.end((function.name, qualifier))
        self.concurrency.forget(function, version)

    def check_update(self, function: Function, call: Call) -> None:
        now = time.monotonic()
        if now < function.active_at:
            raise conflict(
                "The operation cannot be performed at this time. The function is currently in the following "
                "state: Pending"
            )
        if now < function.updated_at:
            raise conflict(
                f"The operation cannot be performed at this time. An update is in progress for resource: {function.arn}"
            )
        self.check_revision(call, function.latest.revision)

    @staticmethod
    def check_revision(call: Call, revision: str) -> None:
        expected = call.params.get("RevisionId")
        if expected and expected != revision:
            raise AwsError(
                "PreconditionFailedException",
                "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to "
                "retrieve the latest Revision Id",
                status=412,
            )

    def _replace(self, function: Function, code: Code, settings: dict[str, Any]) -> None:
        old = function.latest
        function.versions[LATEST] = self._version(function, LATEST, code, settings)
        function.updated_at = time.monotonic() + SETTLE_SECONDS
        self.concurrency.forget(function, old)

    def _version(self, function: Function, number: str, code: Code, settings: dict[str, Any]) -> Version:
        version = Version(function, number, code, settings)
        self.layers.attach(version)
        return version

    def _folder(self, name: str) -> Path:
        return self.aws.settings.state / "functions" / name

    def code(self, folder: Path, source: dict[str, Any], operation: str = "CreateFunction") -> Code:
        """The code that a request gives, unpacked below a folder. Raises AwsError for what Lambda refuses."""
        return fetched(self.aws.s3, folder, source, operation)

    def _zip(self, request: RawRequest) -> RawResponse:
        version = self.find(request.params["FunctionName"]).version(request.params["Qualifier"])
        return RawResponse(200, [("Content-Type", "application/zip")], version.code.archive.read_bytes())

    # ---- versions

    def publish(self, function: Function, description: str | None) -> Version:
        """AWS publishes nothing new when code and configuration are those of the version published last."""
        latest = function.latest
        last = function.versions.get(str(function.published))
        if last is not None and last.code.sha256 == latest.code.sha256 and self._same(last.settings, latest.settings):
            return last
        function.published += 1
        settings = latest.settings | ({"Description": description} if description else {})
        version = self._version(function, str(function.published), latest.code, settings)
        function.versions[version.number] = version
        return version

    @staticmethod
    def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
        return {**one, "Description": ""} == {**other, "Description": ""}


def page(items: list[dict[str, Any]], call: Call, key: str) -> dict[str, Any]:
    """One page in Lambda's words: Marker, MaxItems, NextMarker."""
    start, size = call.params.get("Marker") or "0", call.params.get("MaxItems") or 50
    if not start.isdigit():
        raise invalid(f"The Marker {start!r} was not given out by this operation.")
    answer: dict[str, Any] = {key: items[int(start) : int(start) + size]}
    if int(start) + size < len(items):
        answer["NextMarker"] = str(int(start) + size)
    return answer
