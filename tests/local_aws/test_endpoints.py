"""Endpoints: real processes behind the API, in and out of service, under load."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import tarfile
import time

import psutil
import pytest
import requests
from botocore.exceptions import ClientError

from tests.local_aws.daemon import JOBS_PYTHON, ROOT
from tests.local_aws.serving import MODEL, Serving, archive


@pytest.fixture
def serving(local_aws, bucket, role_arn):
    return Serving(local_aws, bucket, role_arn)


@pytest.fixture
def endpoint(serving):
    """An endpoint in service with one instance."""
    name = serving.create(serving.config(serving.model()), Tags=[{"Key": "run", "Value": "7"}])
    described = serving.wait(name)
    assert described["EndpointStatus"] == "InService", described
    yield name
    serving.delete(name)


def test_an_endpoint_comes_into_service_answers_and_goes(serving):
    # GIVEN an endpoint that was just asked for
    name = serving.create(serving.config(serving.model()), Tags=[{"Key": "run", "Value": "7"}])
    assert serving.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] == "Creating"
    # WHEN it is in service
    described = serving.wait(name)
    # THEN it answers from a real process, has its tags, logs what the model printed, and is gone when deleted
    assert described["EndpointStatus"] == "InService", described
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 1
    answer = serving.call(name, {"x": 1})
    assert answer["echo"] == {"x": 1}
    assert answer["model"] == "a"
    command = psutil.Process(answer["pid"]).cmdline()
    assert any("forkserver.py" in word for word in command) or not sys.platform.startswith("linux")
    assert serving.sagemaker.list_tags(ResourceArn=described["EndpointArn"])["Tags"] == [{"Key": "run", "Value": "7"}]
    logs = serving.aws.client("logs")
    group = f"/aws/sagemaker/Endpoints/{name}"
    stream = logs.describe_log_streams(logGroupName=group)["logStreams"][0]["logStreamName"]
    assert stream.startswith("v0/i-")
    events = logs.get_log_events(logGroupName=group, logStreamName=stream)["events"]
    assert any("loading" in event["message"] for event in events)
    later = described["CreationTime"] + dt.timedelta(hours=1)
    for asked, found in (
        ({}, [name]), ({"CreationTimeAfter": later}, []), ({"CreationTimeBefore": later}, [name]),
        ({"LastModifiedTimeAfter": later}, []), ({"StatusEquals": "Failed"}, []),
    ):  # fmt: skip
        listed = serving.sagemaker.list_endpoints(NameContains=name, **asked)["Endpoints"]
        assert [each["EndpointName"] for each in listed] == found
    serving.delete(name)
    with pytest.raises(ClientError, match=f"Endpoint {name} of account 123456789012 not found."):
        serving.call(name)
    with pytest.raises(ProcessLookupError):
        os.kill(answer["pid"], 0)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (archive("def model_fn(model_dir):\n    raise RuntimeError('no weights here')\n"), "no weights here"),
        (archive("import os\nos._exit(3)\n"), "exit status 3"),
        (b"this is no archive", "cannot be unpacked"),
        (archive(extra=tarfile.TarInfo("../../outside")), "cannot be unpacked"),
    ],
)
def test_what_cannot_serve_fails_with_a_reason(serving, body, reason):
    name = serving.create(serving.config(serving.model(body)))
    described = serving.wait(name)
    assert described["EndpointStatus"] == "Failed"
    assert reason in described["FailureReason"]
    with pytest.raises(ClientError, match="not found"):
        serving.call(name)
    serving.delete(name)


def test_missing_model_data_fails_with_a_reason(serving):
    model = serving.model()
    serving.s3.delete_object(Bucket=serving.bucket, Key=f"{model}/model.tar.gz")
    name = serving.create(serving.config(model))
    assert f'URL: "s3://{serving.bucket}/{model}/model.tar.gz"' in serving.wait(name)["FailureReason"]
    serving.delete(name)


def test_unknown_names_and_duplicates_are_refused(serving, endpoint):
    with pytest.raises(ClientError, match="Could not find endpoint configuration"):
        serving.create("no-such-config")
    with pytest.raises(ClientError, match="already existing endpoint"):
        serving.sagemaker.create_endpoint(EndpointName=endpoint, EndpointConfigName=serving.config(serving.model()))
    for operation in (serving.sagemaker.describe_endpoint, serving.sagemaker.delete_endpoint):
        with pytest.raises(ClientError, match="Could not find endpoint"):
            operation(EndpointName="nobody")
    with pytest.raises(ClientError) as caught:
        serving.call("nobody")
    assert caught.value.response["Error"]["Code"] == "ValidationError"


def test_a_model_from_the_registry_serves(serving):
    # GIVEN a model package of the registry
    serving.sagemaker.create_model_package_group(ModelPackageGroupName="birds")
    code = MODEL.replace("prediction), accept", "prediction), 'application/json; model=' + os.environ['MODEL_NAME']")
    data = serving.model(archive(code, name="from the registry"))
    container = serving.sagemaker.describe_model(ModelName=data)["PrimaryContainer"]
    package = serving.sagemaker.create_model_package(
        ModelPackageGroupName="birds",
        InferenceSpecification={
            "Containers": [{"Image": container["Image"], "ModelDataUrl": container["ModelDataUrl"]}],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
    )["ModelPackageArn"]
    # WHEN a model made of it is deployed, with variables of its own beside the package's
    serving.sagemaker.create_model(
        ModelName="of-a-package",
        ExecutionRoleArn=serving.role_arn,
        PrimaryContainer={"ModelPackageName": package, "Environment": {"MODEL_NAME": "of-a-package"}},
        EnableNetworkIsolation=True,
    )
    name = serving.create(serving.config("of-a-package"))
    # THEN it answers, its variables are in the container, and the content type is the container's to the letter
    assert serving.wait(name)["EndpointStatus"] == "InService"
    assert serving.call(name)["model"] == "from the registry"
    answer = serving.runtime.invoke_endpoint(EndpointName=name, Body=b"{}", ContentType="application/json")
    assert answer["ContentType"] == "application/json; model=of-a-package"
    serving.delete(name)


def test_errors_of_the_model_and_of_the_request(serving, endpoint):
    with pytest.raises(ClientError) as caught:
        serving.call(endpoint, {"fail": True})
    answer = caught.value.response
    assert answer["Error"]["Code"] == "ModelError"
    assert answer["OriginalStatusCode"] == 500
    assert "no such bird" in answer["OriginalMessage"]
    assert f":log-group:/aws/sagemaker/Endpoints/{endpoint}:log-stream:v0/i-" in answer["LogStreamArn"]
    with pytest.raises(ClientError, match="exceeded 6291456 bytes") as caught:
        serving.runtime.invoke_endpoint(EndpointName=endpoint, Body=b"x" * 6_291_457)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
    with pytest.raises(ClientError, match="Variant v9 not found"):
        serving.call(endpoint, TargetVariant="v9")


def test_a_body_of_the_largest_size_arrives(serving, endpoint):
    text = "x" * 6_000_000
    assert serving.call(endpoint, {"text": text})["echo"]["text"] == text


def test_every_call_is_measured_exactly_once(serving, endpoint):
    # GIVEN calls over several periods, some of which fail
    since = time.time() - 1
    for number in range(30):
        if number % 10 == 9:
            with pytest.raises(ClientError):
                serving.call(endpoint, {"fail": True})
        else:
            serving.call(endpoint, {"sleep": 0.05})
    # THEN the sums are what was sent, and the latencies are in microseconds
    assert sum(serving.metric(endpoint, "Invocations", "Sum", since)) == 30
    assert sum(serving.metric(endpoint, "InvocationsPerInstance", "Sum", since)) == 30
    assert sum(serving.metric(endpoint, "Invocation5XXErrors", "Sum", since)) == 3
    assert sum(serving.metric(endpoint, "Invocation4XXErrors", "Sum", since)) == 0
    assert max(serving.metric(endpoint, "ModelLatency", "p50", since)) >= 50_000
    assert max(serving.metric(endpoint, "OverheadLatency", "Maximum", since)) > 0
    assert max(serving.metric(endpoint, "ConcurrentRequestsPerModel", "Maximum", since)) == 1


def test_an_update_leaves_no_gap_in_service(serving, endpoint):
    with serving.load(endpoint) as (answers, errors):
        # WHEN another model takes over under load
        config = serving.config(serving.model(archive(name="b")))
        serving.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=config)
        with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
            serving.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=config)
        described = serving.wait(endpoint)
        after = serving.call(endpoint)
    # THEN no call failed, the answers went from the old to the new, and the old process is gone
    assert errors == []
    assert described["EndpointStatus"] == "InService"
    assert described["EndpointConfigName"] == config
    assert after["model"] == "b"
    old = [answer for answer in answers if answer["model"] == "a"]
    assert old
    with pytest.raises(ProcessLookupError):
        os.kill(old[0]["pid"], 0)


def test_an_update_that_fails_leaves_the_old_one_in_service(serving, endpoint):
    before = serving.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
    broken = serving.config(serving.model(archive(MODEL + "\nraise RuntimeError('half a model')\n")))
    serving.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=broken)
    described = serving.wait(endpoint)
    assert described["EndpointStatus"] == "InService"
    assert "half a model" in described["FailureReason"]
    assert described["EndpointConfigName"] == before
    assert serving.call(endpoint)["model"] == "a"


def test_a_crash_under_load_loses_only_the_calls_in_flight(serving, wait_for):
    # GIVEN two instances under load
    name = serving.create(serving.config(serving.model(), count=2))
    assert serving.wait(name)["EndpointStatus"] == "InService"
    clients = 4
    with serving.load(name, {"sleep": 0.02}, clients) as (answers, errors):
        wait_for(lambda: len({answer["pid"] for answer in answers}) == 2)
        # WHEN one is killed
        victim = answers[-1]["pid"]
        os.kill(victim, signal.SIGKILL)
        # THEN another takes its place
        wait_for(lambda: len({answer["pid"] for answer in answers[-20:]} - {victim}) == 2)
    assert len(errors) <= clients
    assert set(errors) <= {"ModelError"}
    assert serving.sagemaker.describe_endpoint(EndpointName=name)["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    serving.delete(name)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a niceness is a thread's own on Linux")
def test_an_instance_loads_behind_the_others_and_serves_beside_them(tmp_path, wait_for):
    # GIVEN a model that notes where its thread and its session stand among the machine's, and a server without rights
    source = """
import json, os

def standing():
    group = "/proc/self/autogroup"
    session = int(open(group).read().split()[-1]) if os.path.exists(group) else None
    return os.getpriority(os.PRIO_PROCESS, 0), session

def model_fn(model_dir):
    return standing()

def input_fn(body, content_type):
    return None

def predict_fn(data, model):
    return {"loading": model, "serving": standing()}

def output_fn(prediction, accept):
    return json.dumps(prediction), accept
"""
    code = tmp_path / "model/code"
    code.mkdir(parents=True)
    (code / "inference.py").write_text(source)
    port_file = tmp_path / "port"
    # Root could take a niceness back: here it has no such right either.
    unprivileged = ["setpriv", "--bounding-set=-all"] if os.geteuid() == 0 else []
    server = [str(JOBS_PYTHON), str(ROOT / "local_aws/endpoints/server.py"), str(tmp_path / "model"), str(port_file)]
    own = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_BASE_DIR": str(tmp_path),
           "SAGEMAKER_SUBMIT_DIRECTORY": str(code), "PYTHONPATH": str(code)}  # fmt: skip
    process = subprocess.Popen([*unprivileged, *server], env=os.environ | own, start_new_session=True)
    try:
        wait_for(port_file.exists, 120)
        answer = requests.post(f"http://127.0.0.1:{port_file.read_text()}/invocations", data=b"", timeout=60).json()
    finally:
        process.kill()
        process.wait()
    # THEN both went behind to load, and neither is there when it serves
    assert [standing for standing in answer["loading"] if standing is not None] in ([10], [10, 10])
    assert [standing for standing in answer["serving"] if standing is not None] in ([0], [0, 0])


def test_no_page_reaches_the_process_of_a_model(serving, endpoint):
    serving.call(endpoint)
    ports = [int(file.read_text()) for file in serving.aws.state.glob("endpoints/*/*/instances/*/port")]
    assert ports
    for port in ports:
        url = f"http://127.0.0.1:{port}/invocations"
        assert requests.post(url, json={}, timeout=60).status_code == 200
        for page in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert requests.post(url, json={}, headers=page, timeout=60).status_code == 403, page


def test_without_an_instance_the_service_is_unavailable(serving, endpoint, wait_for):
    os.kill(serving.call(endpoint)["pid"], signal.SIGKILL)
    codes = set()

    def answers_again() -> bool:
        try:
            serving.call(endpoint)
        except ClientError as error:
            codes.add(error.response["Error"]["Code"])
            return False
        return True

    wait_for(answers_again)
    assert codes <= {"ServiceUnavailable", "ModelError"}
    assert "ServiceUnavailable" in codes


def test_weights_share_the_traffic_and_capacities_change(serving):
    # GIVEN two variants, of which the second has no weight
    models = serving.model(archive(name="a")), serving.model(archive(name="b"))
    name = serving.create(serving.config(*models, weights=(1.0, 0.0)))
    assert serving.wait(name)["EndpointStatus"] == "InService"
    assert {serving.call(name)["variant"] for _ in range(10)} == {"v0"}
    assert serving.call(name, TargetVariant="v1")["model"] == "b"
    # WHEN the weights are turned round and the second grows
    serving.sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=name,
        DesiredWeightsAndCapacities=[
            {"VariantName": "v0", "DesiredWeight": 0.0},
            {"VariantName": "v1", "DesiredWeight": 1.0, "DesiredInstanceCount": 2},
        ],
    )
    described = serving.wait(name)
    # THEN all traffic goes there
    assert {serving.call(name)["variant"] for _ in range(10)} == {"v1"}
    second = described["ProductionVariants"][1]
    assert (second["CurrentInstanceCount"], second["DesiredInstanceCount"]) == (2, 2)
    with pytest.raises(ClientError, match="not present"):
        serving.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=name, DesiredWeightsAndCapacities=[{"VariantName": "v7", "DesiredInstanceCount": 1}]
        )
    serving.delete(name)


def test_an_endpoint_that_is_being_made_cannot_be_deleted(serving):
    name = serving.create(serving.config(serving.model(archive("import time\ntime.sleep(5)\n" + MODEL))))
    with pytest.raises(ClientError, match="in-progress"):
        serving.sagemaker.delete_endpoint(EndpointName=name)
    serving.delete(name)


def test_the_answer_carries_the_custom_attributes_that_the_model_sets(serving, endpoint):
    def invoke(data, attributes):
        return serving.runtime.invoke_endpoint(
            EndpointName=endpoint, Body=json.dumps(data), ContentType="application/json", CustomAttributes=attributes
        )

    for trace in ("trace=1", "trace=2"):
        assert "CustomAttributes" not in invoke({}, trace)
        answer = invoke({"attributes": "model=7"}, trace)
        assert answer["CustomAttributes"] == f"model=7, asked with {trace}"
    assert "x-another" not in answer["ResponseMetadata"]["HTTPHeaders"]


def test_an_answer_comes_as_a_stream_of_events_and_an_endpoint_is_searched_for(serving, endpoint):
    # GIVEN an answer of several parts
    data = {"a": "b" * 200_000, "attributes": "model=7"}
    asked = {"EndpointName": endpoint, "ContentType": "application/json", "Accept": "application/json"}
    # WHEN it is asked for as a stream
    answer = serving.runtime.invoke_endpoint_with_response_stream(
        **asked, Body=json.dumps(data), CustomAttributes="trace=1"
    )
    # THEN its parts are the answer
    parts = [event["PayloadPart"]["Bytes"] for event in answer["Body"]]
    assert len(parts) == 4
    assert json.loads(b"".join(parts))["echo"] == data
    assert answer["ContentType"] == "application/json"
    assert answer["InvokedProductionVariant"] == "v0"
    assert answer["CustomAttributes"] == "model=7, asked with trace=1"
    # AND it is found by a search, and not by one for another
    only = {"Filters": [{"Name": "EndpointName", "Operator": "Equals", "Value": endpoint},
                        {"Name": "Tags.run", "Operator": "Equals", "Value": "7"}]}  # fmt: skip
    (found,) = serving.sagemaker.search(Resource="Endpoint", SearchExpression=only)["Results"]
    assert found["Endpoint"]["EndpointStatus"] == "InService"
    only["Filters"][1]["Value"] = "8"
    assert serving.sagemaker.search(Resource="Endpoint", SearchExpression=only)["Results"] == []
    with pytest.raises(ClientError, match="does not search for resources of the kind Model"):
        serving.sagemaker.search(Resource="Model")
    # AND an error of the model is one of the call
    with pytest.raises(ClientError, match="no such bird") as caught:
        serving.runtime.invoke_endpoint_with_response_stream(**asked, Body=b'{"fail": true}')
    assert caught.value.response["Error"]["Code"] == "ModelError"
    with pytest.raises(ClientError, match="Endpoint nowhere of account 123456789012 not found"):
        serving.runtime.invoke_endpoint_with_response_stream(**asked | {"EndpointName": "nowhere"}, Body=b"{}")
