"""Functions that really run: states, versions, aliases, calls, ends of all kinds, logs."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import sys
import urllib.error
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from botocore.exceptions import ClientError

SOURCE = """
import os, sys, time
print("initialised")
def handler(event, context):
    print("event", event)
    if event.get("raise"):
        raise ValueError("no such picture")
    if event.get("exit") is not None:
        os._exit(event["exit"])
    if event.get("kill"):
        os.kill(os.getpid(), 9)
    time.sleep(event.get("sleep", 0))
    return {"stream": context.log_stream_name, "kind": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"],
            "version": context.function_version, "pid": os.getpid(), "knob": os.environ.get("KNOB"),
            "arn": context.invoked_function_arn, "path": sys.path, "size": "a" * event.get("size", 0)}
"""


SEEN = """
import os, random, sys
import boto3
def handler(event, context):
    return {"pid": os.getpid(), "folder": os.getcwd(), "first": sys.path[0], "root": os.environ["LAMBDA_TASK_ROOT"],
            "own": boto3.__file__.startswith(os.getcwd()), "drawn": random.random(),
            "names": [name for name in os.environ if name.startswith(("MINE", "LOCAL_AWS"))],
            "leads": os.getsid(0) == os.getpid(),
            "files": [os.readlink(f"/proc/self/fd/{number}") for number in range(3)]}
"""


def zipped(source: str = SOURCE, name: str = "app.py", others: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in {name: source, **(others or {})}.items():
            archive.writestr(path, content)
    return buffer.getvalue()


@pytest.fixture
def client(local_aws):
    return local_aws.client("lambda")


@pytest.fixture
def create(client, role_arn, wait_for):
    names = []

    def make(name, source=SOURCE, **options):
        names.append(name)
        code = options.pop("Code", None) or {"ZipFile": zipped(source)}
        options = {"Runtime": "python3.12", "Handler": "app.handler", "Role": role_arn} | options
        answer = client.create_function(FunctionName=name, Code=code, **options)
        wait_for(lambda: client.get_function_configuration(FunctionName=name)["State"] == "Active")
        return answer

    yield make
    for name in names:
        client.delete_function(FunctionName=name)


def invoke(client, name, event=None, **options):
    answer = client.invoke(FunctionName=name, Payload=json.dumps(event or {}), **options)
    return json.loads(answer["Payload"].read()), answer


def refused(code, call, **params):
    with pytest.raises(ClientError) as caught:
        call(**params)
    assert caught.value.response["Error"]["Code"] == code
    return caught.value.response


def test_a_call_runs_in_a_process_that_is_used_again(client, create):
    assert create("plain", Environment={"Variables": {"KNOB": "7"}})["State"] == "Pending"
    first, answer = invoke(client, "plain", {"a": 1}, LogType="Tail")
    second, _ = invoke(client, "plain")
    assert (answer["ExecutedVersion"], first["kind"], first["knob"]) == ("$LATEST", "on-demand", "7")
    assert first["pid"] == second["pid"] != os.getpid()
    lines = base64.b64decode(answer["LogResult"]).decode().splitlines()
    assert lines[0].startswith("START RequestId: ")
    assert "event {'a': 1}" in lines
    assert lines[-2].startswith("END")
    assert "Init Duration" in lines[-1]
    assert not any(each.rstrip("/").endswith("/plugins") for each in first["path"])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="environments are forked on Linux only")
def test_a_forked_environment_has_what_is_its_own_and_nothing_of_another(client, create):
    seen = {}
    for name, variables in {"one": {"MINE_ONE": "1"}, "other": {"MINE_OTHER": "2"}}.items():
        create(f"forked-{name}", SEEN, Environment={"Variables": variables})
        seen[name] = invoke(client, f"forked-{name}")[0]
        assert seen[name]["names"] == list(variables)
        assert seen[name]["first"] == seen[name]["folder"] == seen[name]["root"]
        assert (seen[name]["leads"], seen[name]["own"]) == (True, False)
        assert seen[name]["files"][1] == seen[name]["files"][2]
        assert "forkserver.py" in " ".join(psutil.Process(seen[name]["pid"]).cmdline())
    assert seen["one"]["files"][0] == os.devnull
    assert seen["one"]["files"][1] != seen["other"]["files"][1]
    assert seen["one"]["drawn"] != seen["other"]["drawn"]
    # AND whose code brings its own in place of what a fork has imported is started anew
    create("brings-boto3", Code={"ZipFile": zipped(SEEN, others={"boto3/__init__.py": ""})})
    brings = invoke(client, "brings-boto3")[0]
    assert brings["own"]
    assert "awslambdaric" in psutil.Process(brings["pid"]).cmdline()


def test_names_that_mean_the_same_function(client, create):
    arn = create("named")["FunctionArn"]
    for name in ("named", "named:$LATEST", arn, "123456789012:function:named", "function:named", f"{arn}:$LATEST"):
        assert invoke(client, name)[0]["version"] == "$LATEST"
        assert client.get_function(FunctionName=name)["Configuration"]["FunctionName"] == "named"


def test_ends_that_are_no_answer(client, create):
    create("ends", Timeout=1)
    payload, answer = invoke(client, "ends", {"raise": True})
    assert answer["FunctionError"] == "Unhandled"
    assert (payload["errorType"], payload["errorMessage"]) == ("ValueError", "no such picture")
    assert payload["stackTrace"]
    assert "Task timed out after 1.00 seconds" in invoke(client, "ends", {"sleep": 9})[0]["errorMessage"]
    assert "exit status 3" in invoke(client, "ends", {"exit": 3})[0]["errorMessage"]
    assert invoke(client, "ends", {"kill": True})[0]["errorType"] == "Runtime.ExitError"
    assert "exceeded" in invoke(client, "ends", {"size": 6_300_000})[0]["errorMessage"]
    assert "pid" in invoke(client, "ends")[0]


@pytest.mark.parametrize(
    ("source", "kind"), [("import nothing_such", "Runtime.ImportModuleError"), ("raise OSError('x')", "OSError")]
)
def test_code_that_cannot_be_initialised(client, create, source, kind):
    create(f"broken-{kind.split('.')[-1]}", source)
    payload, answer = invoke(client, f"broken-{kind.split('.')[-1]}")
    assert (payload["errorType"], answer["FunctionError"]) == (kind, "Unhandled")


def test_what_is_refused(client, create, role_arn, bucket):
    create("refuser")
    good = {"FunctionName": "new", "Runtime": "python3.12", "Handler": "app.handler", "Role": role_arn}
    code = {"ZipFile": zipped()}
    refused("ResourceConflictException", client.create_function, **good | {"FunctionName": "refuser"}, Code=code)
    for wrong in (
        {"Code": {"ZipFile": b"no zip"}},
        {"Code": {"ZipFile": zipped(name="../out.py")}},
        {"Code": {"S3Bucket": bucket, "S3Key": "nothing.zip"}},
        {"Code": {"ImageUri": "image"}, "PackageType": "Image"},
        {"Runtime": "nodejs22.x"},
        {"Role": "arn:aws:iam::123456789012:role/nobody"},
        {"Environment": {"Variables": {"AWS_REGION": "x"}}},
    ):
        refused("InvalidParameterValueException", client.create_function, **good | {"Code": code} | wrong)
    # AWS's limits are below those of the model.
    most = "Member must have value less than or equal to"
    error = refused("ValidationException", client.create_function, **good, Code=code, Timeout=901)
    assert error["Error"]["Message"] == (
        f"1 validation error detected: Value '901' at 'timeout' failed to satisfy constraint: {most} 900"
    )
    for call, params in ((client.create_function, good | {"Code": code}),
                         (client.update_function_configuration, {"FunctionName": "refuser"})):  # fmt: skip
        error = refused("InvalidParameterValueException", call, **params, MemorySize=10_241)
        assert error["Error"]["Message"] == f"'MemorySize' value failed to satisfy constraint: {most} 10240"
    error = refused("ResourceNotFoundException", client.invoke, FunctionName="nobody")
    assert error["Error"]["Message"].endswith("function:nobody")
    refused("ResourceNotFoundException", client.invoke, FunctionName="refuser", Qualifier="7")
    refused("InvalidRequestContentException", client.invoke, FunctionName="refuser", Payload=b"{")
    refused("RequestTooLargeException", client.invoke, FunctionName="refuser", Payload=b'"' + b"a" * 6_400_000 + b'"')
    assert client.invoke(FunctionName="refuser", InvocationType="DryRun")["StatusCode"] == 204


def test_versions_and_aliases(client, create, wait_for):
    create("versions")
    assert [client.publish_version(FunctionName="versions")["Version"] for _ in range(2)] == ["1", "1"]
    client.create_alias(FunctionName="versions", Name="live", FunctionVersion="1")
    client.update_function_configuration(FunctionName="versions", Environment={"Variables": {"KNOB": "new"}})
    wait_for(lambda: client.get_function_configuration(FunctionName="versions")["LastUpdateStatus"] == "Successful")
    assert invoke(client, "versions")[0]["knob"] == "new"
    payload, answer = invoke(client, "versions", Qualifier="live")
    assert (payload["version"], payload["knob"], answer["ExecutedVersion"]) == ("1", None, "1")
    assert payload["arn"].endswith(":live")
    assert client.publish_version(FunctionName="versions")["Version"] == "2"
    client.update_alias(FunctionName="versions", Name="live", FunctionVersion="2")
    assert invoke(client, "versions:live")[0]["version"] == "2"
    refused("ResourceConflictException", client.delete_function, FunctionName="versions", Qualifier="2")
    listed = client.list_versions_by_function(FunctionName="versions")["Versions"]
    assert [each["Version"] for each in listed] == ["$LATEST", "1", "2"]
    # The ARN of $LATEST has its qualifier where versions are listed, and where it was asked for.
    arn = client.get_function_configuration(FunctionName="versions")["FunctionArn"]
    assert arn.endswith(":function:versions")
    assert [each["FunctionArn"] for each in listed] == [f"{arn}:$LATEST", f"{arn}:1", f"{arn}:2"]
    asked = client.get_function(FunctionName="versions", Qualifier="$LATEST")["Configuration"]
    assert asked["FunctionArn"] == f"{arn}:$LATEST"
    everything = client.list_functions(FunctionVersion="ALL")["Functions"]
    assert f"{arn}:$LATEST" in [each["FunctionArn"] for each in everything]
    client.delete_alias(FunctionName="versions", Name="live")
    refused("ResourceNotFoundException", client.get_alias, FunctionName="versions", Name="live")


def test_new_code_from_s3_replaces_the_old(client, create, local_aws, bucket, wait_for):
    create("replaced")
    old = invoke(client, "replaced")[0]["pid"]
    local_aws.client("s3").put_object(Bucket=bucket, Key="f.zip", Body=zipped("def handler(e, c): return 'new'"))
    client.update_function_code(FunctionName="replaced", S3Bucket=bucket, S3Key="f.zip")
    assert invoke(client, "replaced")[0] == "new"
    wait_for(lambda: not os.path.exists(f"/proc/{old}"))


def test_permissions_and_tags(client, create):
    arn = create("tagged", Tags={"a": "b"})["FunctionArn"]
    client.tag_resource(Resource=arn, Tags={"c": "d"})
    client.untag_resource(Resource=arn, TagKeys=["a"])
    assert client.list_tags(Resource=arn)["Tags"] == {"c": "d"}
    permission = {"FunctionName": "tagged", "StatementId": "s", "Action": "lambda:InvokeFunction"}
    client.add_permission(**permission, Principal="apigateway.amazonaws.com")
    assert json.loads(client.get_policy(FunctionName="tagged")["Policy"])["Statement"][0]["Sid"] == "s"
    client.remove_permission(FunctionName="tagged", StatementId="s")
    refused("ResourceNotFoundException", client.get_policy, FunctionName="tagged")


def test_an_event_runs_later_and_its_log_is_kept(client, create, local_aws, wait_for):
    create("event")
    answer = client.invoke(FunctionName="event", InvocationType="Event", Payload=b'{"n": 5}')
    assert answer["StatusCode"] == 202
    logs = local_aws.client("logs")

    def messages():
        try:
            found = logs.filter_log_events(logGroupName="/aws/lambda/event")["events"]
        except ClientError:
            return []
        return [each["message"] for each in found]

    wait_for(lambda: any(each.startswith("REPORT") for each in messages()))
    assert "event {'n': 5}" in messages()


def test_calls_run_at_once_in_environments_of_their_own(client, create):
    create("parallel")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: invoke(client, "parallel", {"sleep": 2})[0]["pid"], range(4)))
    assert len(set(found)) == 4


def test_nothing_survives_a_killed_daemon(new_local_aws, wait_for):
    daemon = new_local_aws()
    statement = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    role = daemon.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=policy)["Role"]["Arn"]
    client = daemon.client("lambda")
    client.create_function(
        FunctionName="f", Runtime="python3.12", Handler="app.handler", Role=role, Code={"ZipFile": zipped()}
    )
    wait_for(lambda: client.get_function_configuration(FunctionName="f")["State"] == "Active")
    pid = invoke(client, "f")[0]["pid"]
    os.kill(pid, 0)
    daemon.stop(signal.SIGKILL)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"))


def test_the_code_is_to_be_had_at_the_address_that_get_function_gives_and_by_its_signature_alone(client, create):
    create("given-out", "def handler(event, context):\n    return 'this one'\n")
    address = client.get_function(FunctionName="given-out")["Code"]["Location"]
    with urllib.request.urlopen(address) as answer:
        (name,) = zipfile.ZipFile(io.BytesIO(answer.read())).namelist()
    assert name == "app.py"
    assert "X-Amz-Expires=600" in address
    # Without the signature, or with it for something else, nobody gets anything.
    for other in (address.partition("?")[0], address.replace("/given-out/", "/another/")):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(other)
        assert refused.value.code == 403
