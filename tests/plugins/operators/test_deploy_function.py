"""A release of the function: its callers are answered throughout, and what they need is ready before they need it."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from airflow.sdk.exceptions import AirflowException
from botocore.config import Config
from botocore.exceptions import ClientError
from musher import names, staging
from musher.errors import UserError
from musher.hooks import function_url
from musher.hooks.function import move_alias_back
from musher.operators.deployment import DeployFunctionOperator

from tests.plugins.operators.conftest import Project

HANDLER = """
import os
def handler(event, context):
    return {{"code": {code!r}, "kind": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]}}
"""
CALLS_A_SECOND = 10


class Deployed:
    """The function of a project of its own, deployed as often as a test wants it to be."""

    def __init__(self, project: Project, folder: Path) -> None:
        self.project, self.folder = project, folder
        project.environment = project.environment.model_copy(update={"lambda_folder": str(folder)})
        self.client = project.daemon.client("lambda")
        self.name = names.Stack(project.name).function
        self.write("a")

    def write(self, code: str, source: str = HANDLER) -> None:
        (self.folder / "handler.py").write_text(source.format(code=code))

    def deploy(self, stack: str = "production", **params: Any) -> dict[str, Any]:
        self.project.params = {"provisioned_concurrency": 2, "reserved_concurrency": 10, **params}
        endpoint = {"name": names.Stack.named(self.project.name, stack).endpoint}
        return self.project.perform(DeployFunctionOperator, endpoint=endpoint, stack=stack)

    def in_the_old_shape(self) -> None:
        """As deployments were: the environments on the alias, and no word of a version before."""
        self.deploy()
        self.client.delete_provisioned_concurrency_config(FunctionName=self.name, Qualifier="1")
        self.client.put_provisioned_concurrency_config(
            FunctionName=self.name, Qualifier=names.ALIAS, ProvisionedConcurrentExecutions=2
        )
        self.ready(names.ALIAS)

    def ready(self, qualifier: str) -> None:
        of = {"FunctionName": self.name, "Qualifier": qualifier}
        deadline = time.monotonic() + 120
        while self.client.get_provisioned_concurrency_config(**of)["Status"] != "READY":
            assert time.monotonic() < deadline
            time.sleep(0.1)

    @property
    def provisioned(self) -> dict[str, int]:
        listed = self.client.list_provisioned_concurrency_configs(FunctionName=self.name)
        return {
            each["FunctionArn"].rsplit(":", 1)[1]: each["RequestedProvisionedConcurrentExecutions"]
            for each in listed["ProvisionedConcurrencyConfigs"]
        }

    @property
    def reserved(self) -> int:
        return self.client.get_function_concurrency(FunctionName=self.name)["ReservedConcurrentExecutions"]

    @property
    def versions(self) -> list[str]:
        listed = self.client.list_versions_by_function(FunctionName=self.name)["Versions"]
        return [each["Version"] for each in listed if each["Version"] != "$LATEST"]

    @property
    def alias(self) -> dict[str, Any]:
        return self.client.get_alias(FunctionName=self.name, Name=names.ALIAS)

    @property
    def state(self) -> list[Any]:
        """Everything that a change would show in."""
        listed = self.client.list_versions_by_function(FunctionName=self.name)["Versions"]
        kept = self.client.list_provisioned_concurrency_configs(FunctionName=self.name)
        keys = ("Version", "RevisionId", "LastModified")
        return [
            [tuple(each[key] for key in keys) for each in listed],
            [(each["FunctionArn"], each["LastModified"]) for each in kept["ProvisionedConcurrencyConfigs"]],
            {name: value for name, value in self.alias.items() if name != "ResponseMetadata"},
            self.reserved,
        ]

    def call(self, client: Any = None) -> dict[str, Any]:
        answer = (client or self.client).invoke(FunctionName=self.name, Qualifier=names.ALIAS, Payload=b"{}")
        content = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            return {"failed": content}
        return {**content, "version": answer["ExecutedVersion"]}

    @contextmanager
    def traffic(self, at_once: int = 32) -> Iterator[Callable[[], list[dict[str, Any]]]]:
        """Ten calls a second for as long as the block takes and a second on either side; gives what came of them.

        Of at most `at_once` callers, who wait for each other on a busy machine: more of them than are reserved would be
        refused, whatever was released.
        """
        client = boto3.client(
            "lambda", endpoint_url=self.project.daemon.url, region_name="us-east-1", aws_access_key_id="test",
            aws_secret_access_key="test", config=Config(retries={"total_max_attempts": 1}, max_pool_connections=32),
        )  # fmt: skip
        ended, calls = threading.Event(), []

        def one() -> dict[str, Any]:
            try:
                return self.call(client)
            except ClientError as error:
                return {"failed": error.response["Error"]["Code"]}

        def send() -> None:
            due = time.monotonic()
            while not ended.is_set():
                calls.append(pool.submit(one))
                due += 1 / CALLS_A_SECOND
                time.sleep(max(0.0, due - time.monotonic()))

        with ThreadPoolExecutor(at_once) as pool:
            sender = threading.Thread(target=send)
            sender.start()
            try:
                time.sleep(1)
                yield lambda: [each.result() for each in _of(calls)]
                time.sleep(1)
            finally:
                ended.set()
                sender.join()


def _of(calls: list[Future]) -> list[Future]:
    return list(calls)


@pytest.fixture
def function(project: Project, tmp_path: Path) -> Deployed:
    return Deployed(project, tmp_path)


def test_the_first_version_is_ready_before_anybody_calls_it(function):
    record = function.deploy()

    assert (record["version"], record["previous_version"], record["alias"]) == ("1", None, "live")
    assert function.provisioned == {"1": 2}
    assert function.reserved == 10
    assert function.call() == {"code": "a", "kind": "provisioned-concurrency", "version": "1"}


def test_a_function_that_is_as_it_should_be_is_not_touched(function):
    first = function.deploy()
    before = function.state

    assert function.deploy() == first
    assert function.state == before


def test_equal_code_is_an_equal_archive_whatever_the_files_look_like(tmp_path):
    made = []
    for folder, order in (("one", ("handler.py", "b.py")), ("two", ("b.py", "handler.py"))):
        place = tmp_path / folder
        place.mkdir()
        for name in order:
            (place / name).write_text(f"# {name}")
            (place / name).chmod(0o600 if folder == "one" else 0o755)
        (place / "notes.txt").write_text(folder)
        made.append(staging.function_archive(place))

    assert made[0] == made[1]


def test_changed_settings_are_a_new_version_and_the_one_before_stays(function):
    function.deploy()

    record = function.deploy(function_timeout_seconds=20)

    assert (record["version"], record["previous_version"]) == ("2", "1")
    assert function.alias["Description"] == "previous_version=1"
    assert function.provisioned == {"2": 2}
    assert function.versions == ["1", "2"]
    function.write("b")
    assert function.deploy(function_timeout_seconds=20)["previous_version"] == "2"
    assert function.versions == ["2", "3"]


def test_a_version_that_another_alias_names_stays(function):
    function.deploy()
    function.client.create_alias(FunctionName=function.name, Name="somebodys", FunctionVersion="1")
    for code in ("b", "c"):
        function.write(code)
        function.deploy()

    assert function.versions == ["1", "2", "3"]


def test_a_share_of_the_calls_that_went_elsewhere_comes_back(function):
    function.deploy()
    function.write("b")
    function.deploy()
    routing = {"AdditionalVersionWeights": {"1": 0.5}}
    function.client.update_alias(FunctionName=function.name, Name=names.ALIAS, RoutingConfig=routing)

    record = function.deploy()

    assert "RoutingConfig" not in function.alias
    assert (record["version"], record["previous_version"]) == ("2", "1")


@pytest.mark.parametrize(
    ("changed", "settings"),
    [
        pytest.param(True, {}, id="with room for both"),
        pytest.param(True, {"reserved_concurrency": 3}, id="without room for both"),
        pytest.param(True, {"reserved_concurrency": 2}, id="with all of the reserve provisioned"),
        pytest.param(False, {"provisioned_concurrency": 3}, id="more of the same version"),
    ],
)
def test_a_release_under_traffic_loses_no_call(function, capsys, changed, settings):
    first = {name: value for name, value in settings.items() if changed}
    function.deploy(**first)
    if changed:
        function.write("b")

    capsys.readouterr()
    with function.traffic(settings.get("reserved_concurrency", 33) - 1) as results:
        record = function.deploy(**settings)

    answers = results()
    assert [each for each in answers if "failed" in each] == []
    served = Counter(each["version"] for each in answers)
    assert sum(served.values()) == len(answers) > 2 * CALLS_A_SECOND
    assert served.keys() == ({"1", "2"} if changed else {"1"})
    assert function.provisioned == {record["version"]: settings.get("provisioned_concurrency", 2)}
    if settings.get("reserved_concurrency") == 2:
        said = capsys.readouterr().out
        assert "giving up 1 of the 2 provisioned environments of 1 first: both need 4, and 2 are reserved" in said
    elif changed and not settings:
        assert Counter(each["kind"] for each in answers) == {"provisioned-concurrency": len(answers)}


@pytest.mark.parametrize("changed", [True, False], ids=["with new code", "as it is"])
def test_a_deployment_of_the_old_shape_is_taken_over_without_losing_a_call(function, changed):
    function.in_the_old_shape()
    if changed:
        function.write("b")

    with function.traffic() as results:
        record = function.deploy()

    answers = results()
    assert [each for each in answers if "failed" in each] == []
    assert len(answers) > 2 * CALLS_A_SECOND
    assert function.provisioned == {record["version"]: 2}
    assert record["version"] == ("2" if changed else "1")
    assert record["previous_version"] == ("1" if changed else None)
    assert function.call()["kind"] == "provisioned-concurrency"


@pytest.mark.parametrize(
    ("before", "after"),
    [((10, 8), (2, 1)), ((2, 1), (10, 8)), ((4, 4), (3, 3))],
    ids=["less", "more", "less than was provisioned"],
)
def test_the_reserve_is_never_below_what_is_provisioned(function, before, after):
    for reserved, provisioned in (before, after):
        function.deploy(reserved_concurrency=reserved, provisioned_concurrency=provisioned)

    assert (function.reserved, function.provisioned) == (after[0], {"1": after[1]})
    function.write("b")
    function.deploy(reserved_concurrency=before[0], provisioned_concurrency=before[1])
    assert (function.reserved, function.provisioned) == (before[0], {"2": before[1]})


@pytest.mark.parametrize("reserved", [10, 3], ids=["with room for both", "without room for both"])
def test_a_version_that_does_not_start_changes_nothing_for_callers(function, reserved):
    function.deploy(reserved_concurrency=reserved)
    function.write("b", "raise ImportError('no such module')")

    with (
        function.traffic(reserved - 1) as results,
        pytest.raises(AirflowException, match=r"is FAILED: .*no such module"),
    ):
        function.deploy(reserved_concurrency=reserved)

    assert [each for each in results() if "failed" in each] == []
    assert function.alias["FunctionVersion"] == "1"
    assert function.provisioned == {"1": 2}
    # The next one that starts is released as ever.
    function.write("c")
    assert function.deploy(reserved_concurrency=reserved)["previous_version"] == "1"


def test_the_version_before_serves_again_and_back(function):
    function.deploy()
    function.write("b")
    function.deploy()
    back = {"client": function.client, "name": function.name, "poll_seconds": 0.2}

    with function.traffic() as results:
        assert move_alias_back(**back) == {"version": "1", "previous_version": "2"}

    assert [each for each in results() if "failed" in each] == []
    assert not [each for each in results() if each["version"] == "1" and each["kind"] == "on-demand"]
    assert (function.call()["code"], function.provisioned, function.reserved) == ("a", {"1": 2}, 10)
    assert move_alias_back(**back) == {"version": "2", "previous_version": "1"}
    # What was rolled back to counts as deployed: the same code again changes nothing.
    move_alias_back(**back)
    function.write("a")
    assert function.deploy()["version"] == "1"
    assert function.versions == ["1", "2"]


def test_there_has_to_be_a_version_to_go_back_to(function):
    back = {"client": function.client, "name": function.name, "poll_seconds": 0.2}
    with pytest.raises(UserError, match=f"{function.name} has no alias live: it has not been deployed"):
        move_alias_back(**back)
    function.deploy()
    with pytest.raises(UserError, match="names no version before 1: there is none to go back to"):
        move_alias_back(**back)
    function.write("b")
    function.deploy()
    function.client.delete_function(FunctionName=function.name, Qualifier="1")
    with pytest.raises(UserError, match=r"The version 1 of .* does not exist any more"):
        move_alias_back(**back)


def test_a_rehearsal_is_a_function_of_its_own_that_says_when_it_expires(function):
    function.deploy()
    before = function.state

    record = function.deploy("rehearsal")

    stack = names.Stack(function.project.name, rehearsal=True)
    assert record["function"] == stack.function
    described = function.client.get_function(FunctionName=stack.function)
    assert described["Configuration"]["Environment"]["Variables"] == {"ENDPOINT_NAME": stack.endpoint}
    first = described["Tags"][names.EXPIRES]
    time.sleep(1.1)  # it is said in whole seconds
    function.deploy("rehearsal")
    assert function.client.get_function(FunctionName=stack.function)["Tags"][names.EXPIRES] > first
    assert names.EXPIRES not in function.client.get_function(FunctionName=function.name)["Tags"]
    assert function.state == before


def test_an_address_is_made_tried_and_taken_away(function):
    assert function.deploy()["url"] is None
    url = function.deploy(function_url="signed")["url"]
    assert function.client.get_function_url_config(FunctionName=function.name, Qualifier="live")["FunctionUrl"] == url
    assert function_url.status(url) == 403
    assert function.deploy(function_url="signed")["url"] == url
    assert function.deploy()["url"] is None
    with pytest.raises(function.client.exceptions.ResourceNotFoundException):
        function.client.get_function_url_config(FunctionName=function.name, Qualifier="live")


class Open:
    """A function whose address somebody has opened."""

    def get_function_url_config(self, **_):
        return {"FunctionUrl": "https://a.lambda-url.us-east-1.on.aws/", "AuthType": "NONE"}


def test_an_address_that_somebody_has_opened_is_not_taken_for_ours():
    with pytest.raises(UserError, match=r"has AuthType NONE, and answers everybody: delete it"):
        function_url.offer(Open(), "f", wanted=True)


def test_an_address_that_answers_unsigned_calls_ends_the_deployment(monkeypatch):
    monkeypatch.setattr(function_url, "status", lambda *_: 200)
    with pytest.raises(AirflowException, match=r"answers an unsigned call with 200, not with 403"):
        function_url.check("https://a/", object(), "us-east-1", poll_seconds=0.1)
