"""The whole chain in a real Airflow on the local AWS: from a folder of pictures to the verdict, and back to nothing."""

from __future__ import annotations

import collections
import contextlib
import json
import time

import pytest
import requests

from local_aws.control import tell
from local_aws.pipeline import STAGES
from tests.chain.conftest import COUNTED_CHECKS
from tests.chain.leaks import Search, secrets_of
from tools.airflow_rest import RestError
from tools.iam.record import missing
from tools.sample_dataset import draw

TRAIN, DEPLOY, REMOVE = "train_image_classifier", "deploy_image_classifier", "remove_deployment"
ON_EC2 = "train_on_ec2"
SMALL = {"max_jobs": 2, "tuning_epochs": 3, "epochs": 5, "dataset_name": "sample", "paths": "both"}


@pytest.fixture(scope="module")
def airflow_stack(start_stack):
    """A stack of its own: what one test leaves there, the next one starts from."""
    stack = start_stack()
    with contextlib.suppress(RestError):
        stack.airflow.wait_for_dag(REMOVE)
    yield stack
    stack.stack.down(lambda line: None)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    # Each is uploaded once, and read and seen by six jobs. So few breeds are told apart at any rate that the tuner
    # picks.
    draw(folder, breeds=4, train=30, test=12)
    return str(folder)


@pytest.fixture(scope="module")
def trained(airflow_stack, pictures):
    """A training run that ended well; deployment follows by itself."""
    airflow_stack.airflow.wait_for_dag(DEPLOY)
    airflow_stack.airflow.unpause(DEPLOY)
    run_id = airflow_stack.trigger(TRAIN, {"dataset": pictures, **SMALL})
    run = airflow_stack.wait(TRAIN, run_id, 900)
    assert run["state"] == "success", airflow_stack.why(TRAIN, run_id)
    return run_id


@pytest.fixture(scope="module")
def deployed(airflow_stack, trained):
    """The deployment that the released model started, whatever its verdict."""
    deadline = time.monotonic() + 180
    while not (runs := airflow_stack.airflow.runs(DEPLOY)):
        assert time.monotonic() < deadline, "the released model started no deployment"
        time.sleep(0.5)
    run_id = runs[0]["dag_run_id"]
    airflow_stack.wait(DEPLOY, run_id, 900)
    return run_id


@pytest.fixture(scope="module")
def record(airflow_stack, deployed):
    """The run record, as the report has it."""
    s3 = airflow_stack.local_aws("s3")
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=airflow_stack.bucket, Prefix="runs/")["Contents"]]
    reports = [key for key in keys if key.endswith("/report.json")]
    assert len(reports) == 1, "deployment adds to the record of the run that trained the model"
    html = s3.get_object(Bucket=airflow_stack.bucket, Key=reports[0].replace(".json", ".html"))["Body"].read()
    assert b"<html" in html
    return json.loads(s3.get_object(Bucket=airflow_stack.bucket, Key=reports[0])["Body"].read())


@pytest.mark.timeout(2400)
def test_training_registers_a_model_that_learned_something(record):
    assert record["dataset"]["images"]["train"] > 100
    assert len(record["tuning"]["trials"]) == SMALL["max_jobs"]
    assert record["tuning"]["best"]["objective"] == min(
        trial["objective"] for trial in record["tuning"]["trials"] if trial["objective"] is not None
    )
    assert [job["instances"] for job in record["training"]["jobs"]] == [1, 2]
    assert record["model"]["status"] == "Approved"
    assert record["model"]["test_accuracy"] >= 0.8
    one, several = record["training"]["jobs"]
    assert abs(one["test_accuracy"] - several["test_accuracy"]) <= 0.1


def test_both_jobs_really_were_billed_by_the_instance(record):
    one, several = record["training"]["jobs"]
    assert one["billable_seconds"] > 0
    assert several["billable_seconds"] % several["instances"] == 0
    assert record["costs"]["run_usd"] > 0
    assert record["costs"]["price_table_date"]


def test_the_deployment_is_measured_and_judged(airflow_stack, record, deployed):
    checks = {check["name"]: check for check in record["verdict"]["checks"]}
    phases = {phase["name"]: phase for phase in record["load_test"]["phases"]}
    for name in COUNTED_CHECKS:
        if name == "no throttle within reserved" and not checks[name]["passed"]:
            # Refused were calls beyond the reserved number: this machine was too busy to end one burst before the next.
            assert phases["within_reserved"]["max_in_flight"] > record["lambda"]["reserved"], checks[name]
            continue
        if checks[name]["inconclusive"]:
            # This machine was too busy to offer the load, three times in a row, and the run says that and no more.
            tries = collections.Counter(each["name"] for each in record["load_test"]["repeated"])
            assert any(phases[each]["invalid_because"] and tries[each] == 2 for each in phases), checks[name]
            assert record["verdict"]["refused_because"]
            continue
        assert checks[name]["passed"], checks[name]
    state = airflow_stack.run(DEPLOY, deployed)["state"]
    assert state == ("success" if record["verdict"]["passed"] else "failed"), airflow_stack.why(DEPLOY, deployed)
    assert record["endpoint"]["capacity"]["max_rps_per_instance"] > 0
    assert max(point["in_service"] for point in record["autoscaling"]["timeline"]) > 1


def interrupt(stack, run_id):
    """Take the Spot instance of a run back as soon as it runs."""
    filters = [{"Name": "tag:run", "Values": [run_id]}, {"Name": "instance-state-name", "Values": ["running"]}]
    deadline = time.monotonic() + 300
    while not (found := stack.local_aws("ec2").describe_instances(Filters=filters)["Reservations"]):
        assert time.monotonic() < deadline, "no instance of the run runs"
        time.sleep(0.2)
    name = found[0]["Instances"][0]["InstanceId"]
    answer = requests.post(f"{stack.stack.aws_url}/_local_aws/interrupt", json={"name": name}, timeout=10)
    assert answer.ok, answer.text
    return name


@pytest.mark.timeout(1200)
def test_the_same_training_on_an_interrupted_spot_instance(airflow_stack, record):
    # GIVEN the newest training run, repeated on a Spot instance that AWS takes back
    run_id = airflow_stack.trigger(ON_EC2, {})
    first = interrupt(airflow_stack, run_id)
    run = airflow_stack.wait(ON_EC2, run_id, 600)
    assert run["state"] == "success", airflow_stack.why(ON_EC2, run_id)

    # THEN another one finished it, as well as SageMaker's one instance did, and nothing is left
    part = airflow_stack.airflow.xcom(ON_EC2, run_id, "train")
    assert [each["ended_by"] for each in part["instances"]] == ["interruption", "finished"]
    assert part["instances"][0]["instance_id"] == first
    one = next(job for job in record["training"]["jobs"] if job["instances"] == 1)
    assert abs(part["test_accuracy"] - one["test_accuracy"]) <= 0.03
    states = [
        instance["State"]["Name"]
        for reservation in airflow_stack.local_aws("ec2").describe_instances()["Reservations"]
        for instance in reservation["Instances"]
    ]
    assert set(states) == {"terminated"}

    # and the report has it beside SageMaker's
    key = f"runs/{record['run']}/report.json"
    report = json.loads(airflow_stack.local_aws("s3").get_object(Bucket=airflow_stack.bucket, Key=key)["Body"].read())
    paths = {line["path"]: line for line in report["costs"]["per_path"]}
    assert paths["EC2 Spot"]["basis"] == "measured"
    assert paths["EC2 Spot"]["usd"] == pytest.approx(part["cost_usd"])


@pytest.mark.timeout(2400)
def test_no_key_that_was_used_is_anywhere(airflow_stack, deployed):
    """In no Variable, XCom, rendered template or run record, in no log, and in nothing that was stored or packed."""
    key, secrets = secrets_of(airflow_stack)
    search = Search(secrets)
    search.database(airflow_stack.home / "airflow.db")
    search.folder(airflow_stack.home / "logs")
    search.folder(airflow_stack.logs)
    search.bucket(airflow_stack.local_aws("s3"), airflow_stack.bucket)
    search.logs(airflow_stack.local_aws("logs"))
    assert search.found == []
    # It was there to be found: these keys signed the calls, and each place has been written to.
    assert sum(call["access_key"] == key for call in airflow_stack.calls()) > 100
    places = ("variable", "xcom", "rendered_task_instance_fields", "task_instance", "log", "files", "objects")
    assert [each for each in (*places, "log lines") if search.looked.get(each, 0) == 0] == []


@pytest.mark.timeout(1200)
def test_removal_leaves_nothing_billable(airflow_stack, deployed):
    assert airflow_stack.local_aws("sagemaker").list_endpoints()["Endpoints"] != []
    run_id = airflow_stack.trigger(REMOVE)
    assert airflow_stack.wait(REMOVE, run_id, 400)["state"] == "success", airflow_stack.why(REMOVE, run_id)
    sagemaker = airflow_stack.local_aws("sagemaker")
    assert sagemaker.list_endpoints()["Endpoints"] == []
    assert sagemaker.list_endpoint_configs()["EndpointConfigs"] == []
    assert sagemaker.list_models()["Models"] == []
    assert airflow_stack.local_aws("lambda").list_functions()["Functions"] == []
    scaling = airflow_stack.local_aws("application-autoscaling")
    assert scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"] == []
    # Registered models stay: the next deployment is one run away.
    groups = sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"]
    assert groups
    # Repeating it is no error.
    again = airflow_stack.trigger(REMOVE)
    assert airflow_stack.wait(REMOVE, again, 400)["state"] == "success"


def test_every_call_of_the_chain_passed_every_stage(airflow_stack, deployed):
    calls = airflow_stack.calls()
    # Whatever went wrong with a call: it passed one stage after the other, and was answered after the last one alone.
    assert [call for call in calls if call["stages"] != list(STAGES)[: len(call["stages"])]] == []
    skipped = [call for call in calls if call["status"] < 400 and call["stages"] != list(STAGES)]
    assert skipped == [], "these were answered without having passed every stage"
    assert [call for call in calls if not (call["service"] and call["operation"] and call["resources"])] == []
    answered = collections.Counter((call["service"], call["owner"]) for call in calls if call["status"] < 400)
    assert {("sagemaker", "own"), ("sagemaker", "moto"), ("lambda", "own"), ("iam", "moto")} <= set(answered)
    operations = {call["operation"] for call in calls}
    assert {"Invoke", "InvokeEndpoint", "PutObject", "CreateTrainingJob", "CreateFunction"} <= operations


def test_no_role_called_what_the_recording_lacks(airflow_stack, deployed):
    """By which least privilege is proved: docs/least_privilege.md says how to record anew."""
    assert missing(json.loads(tell(airflow_stack.stack.local_aws_port, "iam-calls", {}))) == []
