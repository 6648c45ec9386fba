"""What is pickled has a number: whoever changes a class of it has to raise that number."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import pickle
import threading
import weakref

import pytest

from local_aws.alarm_suppression import Suppression
from local_aws.alarms import Alarm, Composite
from local_aws.clock import Clock
from local_aws.ec2.past import InstanceRecord
from local_aws.ec2.spot import SpotRequest
from local_aws.endpoints.record import EndpointRecord, VariantRecord
from local_aws.functions.code import Code
from local_aws.functions.provisioned import ProvisionedRecord
from local_aws.functions.records import Alias, Function, Version
from local_aws.metrics import Bucket, Metrics, Series, key_of
from local_aws.scaling.records import Policy, Target
from local_aws.state import moto_state, snapshot
from local_aws.training.record import JobRecord
from local_aws.tuning.record import TuningRecord

RECORDS = (
    Alarm, Alias, Code, Composite, EndpointRecord, Function, InstanceRecord, JobRecord, Policy, ProvisionedRecord,
    SpotRequest, Suppression, Target, TuningRecord, VariantRecord, Version,
)  # fmt: skip
# Of the records' fields, by format: a change belongs to a new format and to a line here.
# Of 3, S3 has a place of its own; of 4, alarms may be composite and functions have layers; of 5, functions scale; of 6,
# alarms suppress others' actions.
SHAPES = {1: "59cf2422", 2: "b97083fc", 3: "b97083fc", 4: "9f5e813e", 5: "8e72cd37", 6: "33ca30ae"}


def test_a_changed_record_is_another_format():
    fields = {kind.__name__: sorted(each.name for each in dataclasses.fields(kind)) for kind in RECORDS}
    fields |= {kind.__name__: sorted(kind.__slots__) for kind in (Bucket, Series)}
    shape = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:8]
    assert SHAPES[snapshot.FORMAT] == shape, (
        f"the records are another shape, {shape}: raise FORMAT in local_aws/state/snapshot.py, so that a state of the "
        "old shape is refused, and add the new format and shape to SHAPES"
    )


@pytest.fixture
def through_a_file(tmp_path):
    """What comes back of an object that was saved."""

    def through(thing):
        _, file = snapshot.create(tmp_path)
        with file:
            snapshot.write(thing, file)
            file.seek(0)
            return pickle.load(file)

    return through


def test_what_pickle_cannot_do_by_itself_comes_back(through_a_file):
    from moto.kms.utils import generate_private_key
    from moto.ssm.models import ssm_backends

    # Locks, weak references and private keys
    lock, again, weak = through_a_file((threading.Lock(), threading.RLock(), weakref.WeakValueDictionary()))
    for each in (lock, again):
        with each:
            pass
    assert isinstance(weak, weakref.WeakValueDictionary)
    for kind in ("RSA_2048", "ECC_NIST_P256"):
        key = generate_private_key(kind)
        assert through_a_file(key).private_key.private_numbers() == key.private_key.private_numbers()
    # AND moto's own dictionaries, with what they do on their own
    backend = ssm_backends["111111111111"]["eu-west-1"]
    with pytest.raises(AttributeError):
        pickle.dumps(backend)
    tags = [{"Key": "k", "Value": "v"}]
    backend.put_parameter("/a", "", "value", "String", "", None, False, tags, "text", None, None)
    found = through_a_file(backend)
    assert found.get_parameter("/a").value == "value"
    assert found._resource_tags["Parameter"]["/a"] == {"k": "v"}
    assert found._resource_tags["new"]["thing"] == {}


def test_a_service_of_moto_refers_to_the_others_and_not_to_copies(through_a_file):
    from moto.backends import get_backend

    s3 = get_backend("s3")
    assert through_a_file(s3) is s3
    assert through_a_file(s3["111111111111"]) is s3["111111111111"]


def test_a_stack_knows_the_bucket_that_s3_has(through_a_file):
    from moto.backends import get_backend

    s3 = get_backend("s3")["111111111111"]["aws"]
    bucket = s3.create_bucket("of-a-stack", "us-east-1")
    assert through_a_file({"stack": [bucket]}) == {"stack": [bucket]}
    # AND one that is gone as it was
    s3.delete_bucket("of-a-stack")
    gone = through_a_file(bucket)
    assert (gone.name, gone.region_name, gone.versioning_status) == ("of-a-stack", "us-east-1", None)


def test_what_is_the_state_is_not_taken_back(tmp_path, monkeypatch):
    path, file = snapshot.create(tmp_path)
    with file:
        snapshot.write("kept", file)

    def broken(path):
        if path.is_dir():
            raise OSError("the folder cannot be synced")

    monkeypatch.setattr(snapshot, "sync", broken)
    snapshot.commit(tmp_path, path, dt.datetime.now(dt.UTC))
    header = snapshot.check(tmp_path)
    assert snapshot.read(tmp_path, header) == "kept"


def test_metrics_are_the_same_when_an_aws_minute_lasts_longer_or_shorter(through_a_file):
    key = key_of("tests", "metric", None)
    kept = Metrics(Clock(60))
    for at in (30.0, 90.0, 91.0):
        kept.put(key, at, "Count", at)
    for minute in (60, 2):
        found = Metrics(Clock(minute))
        found.restore(through_a_file(kept.remember()))
        points = found.points(key, 60, 0, 120)
        assert [sum(point.bucket.statistic(name) for point in points) for name in ("SampleCount", "Sum")] == [3, 211]
        assert max(point.bucket.statistic("Maximum") for point in points) == 91
        assert found.units(key) == ["Count"]


def test_every_service_of_moto_is_found_by_its_name():
    from moto.backends import get_backend
    from moto.core.base_backend import BackendDict

    for name in ("s3", "iam", "ssm", "sts", "logs", "events", "cloudformation", "ec2", "sagemaker", "kms", "sqs"):
        backends = get_backend(name)
        assert isinstance(backends, BackendDict)
        assert get_backend(moto_state.name_of(backends)) is backends
