"""The state folder when things go wrong: what cannot be read, a full disk, a kill in the middle of a save."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import signal
import sqlite3
import threading
import time

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from local_aws.state.snapshot import FORMAT
from tests.local_aws.daemon import make_role, refused_start, wait_for
from tests.local_aws.remembering import RESTARTED, SOON, state_of, wait_until_saved
from tests.local_aws.serving import MODEL, Serving, archive
from tests.ports import free_port
from tests.small_disk import small_disk

BUCKET = "faults"


@pytest.fixture(scope="module")
def saved_state(tmp_path_factory, start_daemon):
    """A state folder with one object in it."""
    folder = tmp_path_factory.mktemp("saved")
    daemon = start_daemon(folder, options=SOON)
    daemon.client("s3").create_bucket(Bucket=BUCKET)
    daemon.client("s3").put_object(Bucket=BUCKET, Key="kept", Body=b"kept")
    assert daemon.stop() == 0
    return folder / "state"


@pytest.fixture
def state(saved_state, tmp_path):
    return shutil.copytree(saved_state, tmp_path / "state")


def header(state):
    return json.loads((state / "snapshot.json").read_text())


def edit(state, **changes):
    (state / "snapshot.json").write_text(json.dumps(header(state) | changes))


def pickled(state):
    return state / header(state)["file"]


def truncate(state):
    pickled(state).write_bytes(pickled(state).read_bytes()[:-10])


def wrong_pickle(state):
    """Whole, and no pickle."""
    pickled(state).write_bytes(b"nonsense")
    edit(state, sha256=hashlib.sha256(b"nonsense").hexdigest())


def remove_bodies(state):
    for body in (state / "objects").iterdir():
        body.unlink()


def index_of(state, name, value):
    """Another value for what the index says of itself."""
    with contextlib.closing(sqlite3.connect(state / "objects.sqlite")) as database, database:
        database.execute("UPDATE about SET value = ? WHERE name = ?", (value, name))


OF_ANOTHER_MOTO = json.dumps({"format": FORMAT, "moto": "4.0.0", "python": "3.99"})


UNREADABLE = {
    "another format": (lambda state: edit(state, format=2), "format 2 of the state", f"format {FORMAT} of the state"),
    "another moto": (lambda state: edit(state, moto="4.0.0"), "Moto 4.0.0", "Moto 5."),
    "another Python": (lambda state: edit(state, python="3.99"), "Python 3.99", "Python 3."),
    "half a pickle": (truncate, "is damaged", "is not what snapshot.json says"),
    "no pickle": (lambda state: pickled(state).unlink(), "is damaged", "is missing"),
    "nonsense for a pickle": (wrong_pickle, "cannot be read", "UnpicklingError"),
    "nonsense for a header": (lambda state: (state / "snapshot.json").write_text("{"), "is damaged", "cannot be read"),
    "a header without all": (lambda state: (state / "snapshot.json").write_text("{}"), "is damaged", "KeyError"),
    "no bodies": (remove_bodies, "is damaged", "is missing or not whole"),
    "half a body": (lambda state: next((state / "objects").iterdir()).write_bytes(b"ke"), "is damaged", "not whole"),
    "no index": (lambda state: (state / "objects.sqlite").unlink(), "is damaged", "objects.sqlite is missing"),
    "nonsense for an index": (
        lambda state: (state / "objects.sqlite").write_bytes(b"nonsense" * 1000),
        "is damaged",
        "objects.sqlite cannot be read",
    ),
    "an index of another moto": (lambda state: index_of(state, "versions", OF_ANOTHER_MOTO), "Moto 4.0.0", "Moto 5."),
    "buckets that are none": (lambda state: index_of(state, "moto", b"nonsense"), "cannot be read", "UnpicklingError"),
    "an index that others can change": (
        lambda state: (state / "objects.sqlite").chmod(0o666),
        "is not safe",
        "another",
    ),
    "a pickle that others can change": (lambda state: pickled(state).chmod(0o666), "is not safe", "another"),
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_what_cannot_be_read_whole_is_refused_in_one_sentence_and_left_alone(state, what, tmp_path):
    spoil, *said = UNREADABLE[what]
    spoil(state)

    def contents():
        return {path: path.read_bytes() for path in state.rglob("*") if path.is_file() and path.name != "lock"}

    before = contents()
    status, sentence = refused_start(tmp_path / "log", "--port", str(free_port()), "--state", str(state))
    assert status == 1
    sentence = sentence.strip()
    assert "\n" not in sentence
    assert sentence.startswith(f"local_aws: the state in {state} ")
    assert all(each in sentence for each in said), sentence
    assert sentence.endswith("; name another folder with --state, or remove this one to start with an empty AWS")
    assert contents() == before


def test_what_a_killed_save_left_is_ignored(state, new_local_aws):
    half = [
        state / "snapshot-1-1.pickle",
        state / "snapshot.json.new",
        state / "objects/0123.new",
        state / "objects/4567",
    ]
    for each in half:
        each.write_bytes(b"half")
    daemon = new_local_aws(state=state)
    assert daemon.client("s3").get_object(Bucket=BUCKET, Key="kept")["Body"].read() == b"kept"
    assert not any(each.exists() for each in half)


def test_a_full_disk_costs_no_call_and_not_the_last_state(tmp_path, new_local_aws):
    with small_disk(tmp_path / "disk", megabytes=24) as disk:
        daemon = new_local_aws(state=disk / "state", options=SOON)
        s3 = daemon.client("s3")
        s3.create_bucket(Bucket=BUCKET)
        s3.put_object(Bucket=BUCKET, Key="before", Body=b"before")
        daemon.client("ssm").put_parameter(Name="/before", Value="before", Type="String")
        wait_until_saved(daemon)
        # WHEN the disk fills up, and something changes
        ballast = disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        saved = header(disk / "state")
        ssm = daemon.client("ssm")
        ssm.put_parameter(Name="/meanwhile", Value="meanwhile", Type="String")
        wait_for(lambda: state_of(daemon)["problem"])
        # THEN calls are answered, the log says it once, and the last state is whole
        assert "No space left" in state_of(daemon)["problem"]
        assert ssm.get_parameter(Name="/meanwhile")["Parameter"]["Value"] == "meanwhile"
        lines = [line for line in daemon.log.read_text().splitlines() if "cannot be saved" in line]
        assert len(lines) == 1
        assert str(disk / "state") in lines[0]
        assert header(disk / "state") == saved
        # AND an object that cannot be kept is not acknowledged
        with pytest.raises(ClientError, match="No space left") as caught:
            s3.put_object(Bucket=BUCKET, Key="meanwhile", Body=b"meanwhile" * 10_000)
        assert caught.value.response["Error"]["Code"] == "InternalError"
        assert s3.get_object(Bucket=BUCKET, Key="before")["Body"].read() == b"before"
        # AND when there is space again, both are kept after all
        ballast.unlink()
        s3.put_object(Bucket=BUCKET, Key="after", Body=b"after" * 10_000)
        wait_for(lambda: state_of(daemon)["problem"] is None, 120)
        wait_until_saved(daemon)
        daemon.stop(signal.SIGKILL)
        again = new_local_aws(state=disk / "state")
        keys = again.client("s3").list_objects_v2(Bucket=BUCKET)["Contents"]
        assert [each["Key"] for each in keys] == ["after", "before"]
        assert again.client("ssm").get_parameter(Name="/meanwhile")["Parameter"]["Value"] == "meanwhile"
        again.stop()


def test_a_save_has_every_call_whole_or_not_at_all_and_no_object_waits_for_one(tmp_path, new_local_aws):
    daemon = new_local_aws(state=tmp_path / "state", options=("--save-every", "0.1s"))
    daemon.client("s3").create_bucket(Bucket=BUCKET)
    answered: dict[int, int] = {}

    def write(writer):
        """Parameters and objects in turn, until the daemon is gone."""
        s3, ssm = daemon.client("s3"), daemon.client("ssm")
        with contextlib.suppress(BotoCoreError, ClientError):
            for number in range(100_000):
                ssm.put_parameter(Name=f"/{writer}/{number:06d}", Value="x", Type="String")
                s3.put_object(Bucket=BUCKET, Key=f"{writer}/{number:06d}", Body=f"{number}".encode() * 1000)
                answered[writer] = number + 1
                time.sleep(0.01)

    daemon.client("ssm")
    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(3)]
    for each in writers:
        each.start()
    # WHEN it is killed after saves in the middle of all this
    wait_for(lambda: len(answered) == 3)
    known = dict(answered)
    before = state_of(daemon)["saves"]
    wait_for(lambda: state_of(daemon)["saves"] >= before + 4, 240)
    daemon.stop(signal.SIGKILL)
    for each in writers:
        each.join()
    # THEN every object is there that was acknowledged, and each writer's parameters up to one call
    again = new_local_aws(state=tmp_path / "state")
    s3, ssm = again.client("s3"), again.client("ssm")
    for writer in range(3):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{writer}/")
        keys = [each["Key"] for page in pages for each in page.get("Contents", ())]
        assert keys == [f"{writer}/{number:06d}" for number in range(len(keys))]
        assert answered[writer] <= len(keys) <= answered[writer] + 1
        for number in {0, len(keys) - 1}:
            body = s3.get_object(Bucket=BUCKET, Key=keys[number])["Body"].read()
            assert body == f"{number}".encode() * 1000
        pages = ssm.get_paginator("get_parameters_by_path").paginate(Path=f"/{writer}/")
        parameters = sorted(each["Name"] for page in pages for each in page["Parameters"])
        assert parameters == [f"/{writer}/{number:06d}" for number in range(len(parameters))]
        assert known[writer] <= len(parameters) <= len(keys) + 1


def test_bodies_are_stored_once_and_deleted_with_the_last_object(tmp_path, new_local_aws):
    daemon = new_local_aws(state=tmp_path / "state")
    s3, objects = daemon.client("s3"), tmp_path / "state/objects"
    s3.create_bucket(Bucket=BUCKET)
    for key in ("one", "two"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"the same")
    s3.put_object(Bucket=BUCKET, Key="other", Body=b"another")
    assert len(list(objects.iterdir())) == 2
    s3.put_object(Bucket=BUCKET, Key="other", Body=b"another one")
    s3.delete_object(Bucket=BUCKET, Key="one")
    assert {path.read_bytes() for path in objects.iterdir()} == {b"the same", b"another one"}


def test_reading_saves_nothing_and_no_object_does(tmp_path, new_local_aws):
    daemon = new_local_aws(state=tmp_path / "state", options=("--save-every", "0.1s"))
    daemon.client("s3").create_bucket(Bucket=BUCKET)
    wait_until_saved(daemon)
    saves = state_of(daemon)["saves"]
    daemon.client("s3").put_object(Bucket=BUCKET, Key="object", Body=b"kept at once")
    daemon.client("s3").list_objects_v2(Bucket=BUCKET)
    daemon.client("sagemaker").list_endpoints()
    daemon.client("ssm").describe_parameters()
    time.sleep(1)
    assert state_of(daemon)["saves"] == saves


@pytest.fixture
def serving(tmp_path, new_local_aws):
    # An AWS minute of a minute: an update that waits for an hour is not over before it is looked at.
    daemon = new_local_aws(state=tmp_path / "state", minute=60.0, options=SOON)
    daemon.client("s3").create_bucket(Bucket=BUCKET)
    return Serving(daemon, BUCKET, make_role(daemon))


@pytest.fixture
def held(tmp_path):
    """A file, and a model that does not come up as long as it is there."""
    hold = tmp_path / "hold"
    wait = f"def model_fn(model_dir):\n    while os.path.exists({str(hold)!r}):\n        time.sleep(0.05)"
    return hold, archive(MODEL.replace("def model_fn(model_dir):", wait))


def restarted(serving, new_local_aws):
    """The same after a SIGKILL, saved before."""
    wait_until_saved(serving.aws)
    serving.aws.stop(signal.SIGKILL)
    return Serving(new_local_aws(state=serving.aws.state, options=SOON), BUCKET, serving.role_arn)


def test_endpoints_in_every_state_come_back_as_what_they_can_be(serving, held, new_local_aws):
    hold, held_model = held
    model = serving.model()
    config = serving.config(model)
    updated, doomed, deleted = (serving.create(serving.config(serving.model())) for _ in range(3))
    failed = serving.create(serving.config(serving.model(body=b"no archive")))
    for name in (updated, doomed, deleted):
        assert serving.wait(name)["EndpointStatus"] == "InService"
    before = serving.wait(failed)
    # GIVEN an update that takes its time, a creation under way, and one whose model is gone
    routing = {"Type": "CANARY", "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50}, "WaitIntervalInSeconds": 3600}
    old = serving.sagemaker.describe_endpoint(EndpointName=updated)["EndpointConfigName"]
    serving.sagemaker.update_endpoint(
        EndpointName=updated, EndpointConfigName=config,
        DeploymentConfig={"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}},
    )  # fmt: skip
    (gone,) = serving.sagemaker.describe_endpoint_config(
        EndpointConfigName=serving.sagemaker.describe_endpoint(EndpointName=doomed)["EndpointConfigName"]
    )["ProductionVariants"]
    serving.s3.delete_object(Bucket=BUCKET, Key=f"{gone['ModelName']}/model.tar.gz")
    hold.touch()
    creating = serving.create(serving.config(serving.model(body=held_model)))
    serving.delete(deleted)
    again = restarted(serving, new_local_aws)
    assert again.sagemaker.describe_endpoint(EndpointName=creating)["EndpointStatus"] == "Creating"
    hold.unlink()
    # THEN the update is undone, the creation goes on, what cannot serve says why, and what has failed has failed
    moving = ("Creating", "SystemUpdating")
    described = again.wait(updated, *moving)
    assert (described["EndpointStatus"], described["EndpointConfigName"]) == ("InService", old)
    assert described["FailureReason"] == RESTARTED
    assert again.call(updated, {"a": 1})["echo"] == {"a": 1}
    assert again.wait(creating, *moving)["EndpointStatus"] == "InService"
    described = again.wait(doomed, *moving)
    assert described["EndpointStatus"] == "Failed"
    assert "Failed to download model data" in described["FailureReason"]
    described = again.sagemaker.describe_endpoint(EndpointName=failed)
    assert (described["EndpointStatus"], described["FailureReason"]) == ("Failed", before["FailureReason"])
    names = {each["EndpointName"] for each in again.sagemaker.list_endpoints()["Endpoints"]}
    assert names == {updated, creating, doomed, failed}


def test_until_its_instances_answer_an_endpoint_says_that_it_is_unavailable(serving, held, new_local_aws):
    hold, held_model = held
    name = serving.create(serving.config(serving.model(body=held_model)))
    assert serving.wait(name)["EndpointStatus"] == "InService"
    hold.touch()
    again = restarted(serving, new_local_aws)
    with pytest.raises(ClientError) as caught:
        again.call(name)
    assert caught.value.response["Error"]["Code"] == "ServiceUnavailable"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    described = again.sagemaker.describe_endpoint(EndpointName=name)
    assert described["EndpointStatus"] == "SystemUpdating"
    assert described["ProductionVariants"][0]["DesiredInstanceCount"] == 1
    with pytest.raises(ClientError, match="in-progress"):
        again.sagemaker.delete_endpoint(EndpointName=name)
    hold.unlink()
    assert again.wait(name, "SystemUpdating")["EndpointStatus"] == "InService"
    assert again.call(name, {"b": 2})["echo"] == {"b": 2}
