"""What becomes of each member of a request: carried out, recorded or refused; none is ignored."""

from __future__ import annotations

import ast
import copy
import functools
import pickle
import re
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from local_aws import conformance
from local_aws.errors import AwsError
from local_aws.pipeline import members, reads
from local_aws.pipeline.directory import operation
from local_aws.s3 import content
from local_aws.support import own_operations
from tests.local_aws.test_pipeline import code_of

FOLDER = Path(members.__file__).parents[1]
# Where the operations of a service read their members.
SOURCES = {
    "sagemaker": ("services/sagemaker*.py", "training/*.py", "tuning/*.py", "endpoints/*.py", "images.py", "tags.py",
                  "services/base.py", "services/listing.py"),
    "sagemaker-runtime": ("endpoints/*.py", "services/sagemaker_endpoints.py"),
    "lambda": ("services/lambda*.py", "functions/*.py"),
    "cloudwatch": ("services/cloudwatch*.py", "alarm*.py", "metrics.py", "metric_requests.py", "tags.py"),
    "application-autoscaling": ("services/application_autoscaling*.py", "scaling/*.py", "services/base.py"),
    "ec2": ("services/ec2.py", "services/ec2_power.py", "services/ec2_spot.py", "services/ec2_tags.py", "ec2/*.py",
            "services/base.py"),
    "ec2-instance-connect": ("services/ec2_instance_connect.py",),
    "service-quotas": ("services/service_quotas.py", "services/base.py"),
    "ssm": ("services/ssm.py",),
    "logs": ("services/log_queries.py",),
    "events": ("services/events.py",),
    "cloudformation": ("services/cloudformation*.py", "stacks/*.py"),
    "iam": ("services/iam_simulator.py", "services/iam_last_accessed.py", "services/iam_boundaries.py",
            "iam/identities.py", "iam/simulate.py"),
    "s3": ("services/s3_*.py", "s3/*.py"),
}  # fmt: skip
SENSITIVE = re.compile(
    r"Kms|KMS|Vpc|Subnet|SecurityGroup|Encrypt|Role|Instance|Volume|Policy|Public|Network|Price|Isolation|Ebs|Http"
)
# Handed on as they are, in a structure that is read whole, or put together from words.
READ_WHOLE = (
    "DebugHookConfig.", "DebugRuleConfigurations", "ProfilerRuleConfigurations",
    "CreationTime", "LastModifiedTime", "Checksum", "MultipartUpload.Parts.Checksum", "CopySourceIf", "Response",
)  # fmt: skip
# Read by moto or, of the data plane, by the names of headers.
ELSEWHERE = {
    "RunInstances", "CreateTags", "DescribeInstances", "DescribeInstanceStatus", "CreateModel",
    "CreateEndpointConfig",
    "CreateModelPackage", "CreateModelPackageGroup", "Invoke", "InvokeEndpoint", "InvokeEndpointWithResponseStream",
}  # fmt: skip


@functools.cache
def words(service):
    """The strings in the code of a service: what it asks a request for is among them."""
    files = [file for pattern in SOURCES[service] for file in FOLDER.glob(pattern)]
    trees = [ast.parse(file.read_text()) for file in files]
    return {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}


def every():
    for service, names in own_operations().items():
        for name in sorted(names):
            for member in members.of(operation(service, name), service):
                yield service, name, member


def test_every_name_of_the_table_is_one_of_the_model():
    answered = own_operations()
    for service, operations in members.declared().items():
        for name, entry in operations.items() if service != "because" else ():
            if name == "*":
                continue
            assert name in answered[service], name
            known = {member.path for member in members.of(operation(service, name), service)}
            named = [each for key in ("carried", "recorded", "refused", "not") for each in entry.get(key, ())]
            for each in [*named, *entry.get("only", {})]:
                assert each == "*" or each.removesuffix(".*") in known, f"{service} {name} has no {each}"


@pytest.mark.slow
def test_what_is_carried_out_is_asked_for_by_the_code():
    unread = [
        f"{service}.{name}.{member.path}"
        for service, name, member in every()
        if name not in ELSEWHERE and not member.path.startswith(READ_WHOLE)
        if member.treatment == members.CARRIED and member.path.rpartition(".")[2] not in words(service)
    ]
    assert unread == [], "nothing reads these: name what becomes of them in members.toml"


def test_what_is_only_recorded_changes_neither_billing_nor_security_nor_compute():
    because = members.declared()["because"]
    found = [
        f"{service}.{name}.{member.path}"
        for service, name, member in every()
        if member.treatment == members.RECORDED and SENSITIVE.search(member.path)
    ]
    assert [each for each in found if not each.startswith(tuple(because))] == []
    assert all(any(each.startswith(reason) for each in found) for reason in because), "a reason for nothing"


def test_what_s3_refuses_in_words_of_its_own_is_in_the_table():
    assert set(members.declared()["s3"]["*"]["refused"]) == set(content.REFUSED)


def test_the_tables_are_counted_and_one_operation_can_be_shown():
    rows = [line.split("|")[1:-1] for line in conformance.members_table().splitlines()[2:]]
    for row in rows:
        operations, total, *each = (int(cell.replace(",", "")) for cell in row[1:])
        assert operations > 0
        assert (sum(each), each[-1]) == (total, 0)
    shown = conformance.describe("createfunction")
    assert re.match(r"lambda.CreateFunction: \d\d members\n", shown)
    assert re.search(r"Architectures +carried out with some values: x86_64", shown)
    assert re.search(r"FileSystemConfigs +refused", shown)
    with pytest.raises(conformance.Unknown, match="MakeCoffee is no operation"):
        conformance.describe("MakeCoffee")


def refused(service, name, params):
    refuse = members.refusing(operation(service, name), service)
    with pytest.raises(AwsError) as caught:
        refuse(params)
    return caught.value.message


def test_a_member_that_nobody_carries_out_is_refused_by_name():
    function = {"FunctionName": "f", "Role": "r", "Code": {"ZipFile": b"z"}}
    assert "CreateFunction: the local AWS does not carry out DurableConfig" in refused(
        "lambda", "CreateFunction", {**function, "DurableConfig": {"ExecutionTimeout": 1}}
    )
    assert "does not carry out VpcConfig: leave it out" in refused(
        "lambda", "CreateFunction", {**function, "VpcConfig": {"SubnetIds": ["s"], "SecurityGroupIds": []}}
    )
    assert "Architectures; it takes x86_64 alone" in refused(
        "lambda", "CreateFunction", {**function, "Architectures": ["arm64"]}
    )
    job = {"OutputDataConfig": {"S3OutputPath": "s3://b/", "KmsKeyId": "k"}}
    assert "OutputDataConfig.KmsKeyId" in refused("sagemaker", "CreateTrainingJob", job)
    assert "OptionalObjectAttributes" in refused("s3", "ListObjectsV2", {"OptionalObjectAttributes": ["RestoreStatus"]})
    # WHEN it says no more than one that is left out THEN it is taken
    nothing = {"Layers": [], "VpcConfig": {"SubnetIds": []}, "DeadLetterConfig": {}, "SnapStart": {"ApplyOn": "None"}}
    assert members.refusing(operation("lambda", "CreateFunction"), "lambda")(function | nothing) is None


def test_the_gateway_refuses_it(local_aws, role_arn):
    functions = local_aws.client("lambda")
    request = {"FunctionName": "mounted", "Runtime": "python3.12", "Role": role_arn, "Handler": "a.b"}
    code = {"ZipFile": b"no zip is looked at"}
    files = [{"Arn": f"arn:aws:elasticfilesystem:us-east-1:123456789012:access-point/fsap-{'0' * 17}",
              "LocalMountPath": "/mnt/a"}]  # fmt: skip
    with pytest.raises(ClientError, match="does not carry out FileSystemConfigs"):
        functions.create_function(**request, Code=code, FileSystemConfigs=files)
    assert code_of(local_aws.client("ec2").run_instances, MinCount=1, MaxCount=1, ImageId="ami-1",
                   HibernationOptions={"Configured": True}) == "UnsupportedOperation"  # fmt: skip


def test_what_was_given_and_looked_at_by_nobody_is_found(tmp_path, monkeypatch):
    # GIVEN an operation that looks at some of what it is given, in what it has kept as well
    monkeypatch.setenv(reads.VARIABLE, str(tmp_path / "reads.jsonl"))
    found, model = reads.Reads(), operation("lambda", "CreateFunction")
    given = {
        "FunctionName": "f", "Handler": "a.b", "Timeout": 3, "Code": {"ZipFile": b"z"}, "Tags": {"a": "1"},
        "Environment": {"Variables": {"A": "1"}},
    }  # fmt: skip
    asked = found.wrapped("lambda", model, given)
    assert (asked, asked["Code"]["ZipFile"], asked.get("Handler")) == (given, b"z", "a.b")
    assert "FunctionName" in asked
    kept = copy.deepcopy({"request": asked})
    found.done("lambda", model, given)
    ignored = [f"lambda.CreateFunction.{each}" for each in ("Environment.Variables", "Tags", "Timeout")]
    assert reads.ignored(tmp_path / "reads.jsonl") == ignored
    # WHEN the rest is looked at later, or a structure is gone through THEN it is not ignored
    assert kept["request"]["Timeout"] == 3
    assert list(asked["Environment"].items()) == [("Variables", {"A": "1"})]
    assert reads.ignored(tmp_path / "reads.jsonl") == ignored[1:2]
    # AND what is saved is a plain dict
    assert type(pickle.loads(pickle.dumps(asked))) is dict


def test_nothing_is_wrapped_without_a_file(monkeypatch):
    monkeypatch.delenv(reads.VARIABLE, raising=False)
    given = {"FunctionName": "f"}
    assert not reads.Reads()
    assert reads.Reads().wrapped("lambda", operation("lambda", "CreateFunction"), given) is given
