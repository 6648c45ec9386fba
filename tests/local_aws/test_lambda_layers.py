"""Layers: versions that are published, listed and deleted, and what a function with some finds at run time."""

from __future__ import annotations

import json
import os
import urllib.request

import psutil
import pytest

from local_aws.errors import AwsError
from local_aws.functions import layers, opt
from local_aws.functions.code import LARGEST_UNZIPPED
from tests.local_aws.test_lambda import create, invoke, refused, zipped  # noqa: F401

LOOKS = """
import os, shared, only_first, first_of_both
def handler(event, context):
    found = {"shared": shared.WHO, "first": only_first.WHO, "both": first_of_both.WHO, "path": os.environ["PATH"],
             "pid": os.getpid(), "mounts": os.readlink("/proc/self/ns/mnt") if os.path.exists("/proc/self/ns") else ""}
    if event.get("file"):
        found["file"] = open(event["file"]).read()
    return found
"""
BRINGS = """
import boto3
def handler(event, context):
    return {"boto3": boto3.__file__, "forked": "forkserver" in open("/proc/self/cmdline").read()}
"""


@pytest.fixture(scope="module")
def client(local_aws):
    return local_aws.client("lambda")


def archive(**files):
    """A zip of files, with __ for the slashes and a dot in their names."""
    named = {f"{name.replace('__', '/')}.py": text for name, text in files.items()}
    first = next(iter(named))
    return zipped(named.pop(first), first, named)


def publish(client, name, content, **options):
    return client.publish_layer_version(LayerName=name, Content={"ZipFile": content}, **options)


def test_versions_are_published_listed_and_deleted(client):
    # GIVEN two versions of one layer, and one of another
    content = archive(python__a="A = 1\n")
    first = publish(client, "kept", content, Description="the first", CompatibleRuntimes=["python3.12"])
    assert (first["Version"], first["LayerVersionArn"]) == (1, f"{first['LayerArn']}:1")
    assert first["Content"]["CodeSize"] == len(content)
    second = publish(client, "kept", archive(python__a="A = 2\n"), CompatibleRuntimes=["python3.13"], LicenseInfo="MIT")
    publish(client, "other", content, CompatibleArchitectures=["x86_64"])
    # THEN each is found, by its number, its ARN and what it is compatible with
    got = client.get_layer_version(LayerName="kept", VersionNumber=1)
    assert {**got, "Content": None, "ResponseMetadata": None} == {**first, "Content": None, "ResponseMetadata": None}
    by_arn = client.get_layer_version_by_arn(Arn=second["LayerVersionArn"])
    assert (by_arn["LicenseInfo"], by_arn["Description"]) == ("MIT", "")
    with urllib.request.urlopen(got["Content"]["Location"]) as answer:
        assert answer.read() == content
    versions = client.list_layer_versions(LayerName=first["LayerArn"])["LayerVersions"]
    assert [each["Version"] for each in versions] == [2, 1]
    only = client.list_layer_versions(LayerName="kept", CompatibleRuntime="python3.12")["LayerVersions"]
    assert [each["Version"] for each in only] == [1]
    named = {each["LayerName"]: each["LatestMatchingVersion"]["Version"] for each in client.list_layers()["Layers"]}
    assert (named["kept"], named["other"]) == (2, 1)
    matching = client.list_layers(CompatibleRuntime="python3.12", MaxItems=1)
    assert [(each["LayerName"], each["LatestMatchingVersion"]["Version"]) for each in matching["Layers"]] == [
        ("kept", 1)
    ]
    # WHEN the last is deleted THEN its number is not given out again
    for _ in range(2):  # AWS says nothing of one that is gone
        client.delete_layer_version(LayerName="kept", VersionNumber=2)
    refused("ResourceNotFoundException", client.get_layer_version, LayerName="kept", VersionNumber=2)
    assert publish(client, "kept", content)["Version"] == 3
    assert client.list_layer_versions(LayerName="nothing")["LayerVersions"] == []


def test_others_may_be_allowed_to_use_a_version(client):
    publish(client, "open", archive(python__a=""))
    of = {"LayerName": "open", "VersionNumber": 1}
    refused("ResourceNotFoundException", client.get_layer_version_policy, **of)
    given = {
        "StatementId": "all",
        "Action": "lambda:GetLayerVersion",
        "Principal": "*",
        "OrganizationId": "o-a1b2c3d4e5",
    }
    added = client.add_layer_version_permission(**of, **given)
    statement = json.loads(added["Statement"])
    assert statement["Resource"].endswith(":layer:open:1")
    assert statement["Condition"] == {"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}}
    policy = client.get_layer_version_policy(**of)
    assert json.loads(policy["Policy"])["Statement"] == [statement]
    refused("ResourceConflictException", client.add_layer_version_permission, **of, **given)
    refused("PreconditionFailedException", client.remove_layer_version_permission, **of, StatementId="all",
            RevisionId="another")  # fmt: skip
    client.remove_layer_version_permission(**of, StatementId="all", RevisionId=policy["RevisionId"])
    refused("ResourceNotFoundException", client.remove_layer_version_permission, **of, StatementId="all")


def test_a_function_finds_what_its_layers_hold(client, create, local_aws):  # noqa: F811
    # GIVEN two layers that have one module both, one of them in the runtime's folder, and a command
    one = archive(
        python__shared="WHO = 'one'\n", python__only_first="WHO = 'one'\n", python__first_of_both="WHO = ''\n"
    )
    other = archive(
        python__shared="WHO = 'other'\n", **{"python__lib__python3.12__site-packages__first_of_both": "WHO = 'site'\n"}
    )
    first, second = (publish(client, name, zip_)["LayerVersionArn"] for name, zip_ in (("one", one), ("two", other)))
    made = create("layered", LOOKS, Layers=[first, second])
    assert made["Layers"] == [{"Arn": first, "CodeSize": len(one)}, {"Arn": second, "CodeSize": len(other)}]
    # THEN the later one goes over the earlier, and site-packages before python, as on AWS
    event = {"file": "/opt/python/shared.py"} if opt.mountable() else {}
    found, answer = invoke(client, "layered", event)
    assert "FunctionError" not in answer, found
    assert (found["shared"], found["first"], found["both"]) == ("other", "one", "site")
    assert found["path"].split(":")[0].endswith("/bin")
    assert found.get("file", "WHO = 'other'\n") == "WHO = 'other'\n"
    if opt.mountable():
        # It is forked like any other, and only it has these mounts; what brings a module of the runtime's is not.
        assert "forkserver.py" in " ".join(psutil.Process(found["pid"]).cmdline())
        assert found["mounts"] != os.readlink("/proc/self/ns/mnt")
        assert not list((local_aws.state / "instances" / "lambda").glob("*/opt/*"))
        brings = publish(client, "brings", archive(python__boto3=""))["LayerVersionArn"]
        create("brings-boto3-along", BRINGS, Layers=[brings])
        assert invoke(client, "brings-boto3-along")[0] == {"boto3": "/opt/python/boto3.py", "forked": False}

    # WHEN a version is published, and a layer deleted THEN the function keeps it
    version = client.publish_version(FunctionName="layered")["Version"]
    client.delete_layer_version(LayerName="two", VersionNumber=1)
    refused("InvalidParameterValueException", client.update_function_configuration, FunctionName="layered",
            Layers=[first, second])  # fmt: skip
    client.update_function_configuration(FunctionName="layered", Layers=[first])
    client.get_waiter("function_updated_v2").wait(FunctionName="layered", WaiterConfig={"Delay": 1})
    assert invoke(client, "layered")[0]["shared"] == "one"
    assert invoke(client, "layered", Qualifier=version)[0]["shared"] == "other"
    # AND without any it does not start
    client.update_function_configuration(FunctionName="layered", Layers=[])
    client.get_waiter("function_updated_v2").wait(FunctionName="layered", WaiterConfig={"Delay": 1})
    assert "Layers" not in client.get_function_configuration(FunctionName="layered")
    assert "No module named 'shared'" in invoke(client, "layered")[0]["errorMessage"]


def test_layers_that_a_function_may_not_have(client, role_arn):
    publish(client, "same", archive(python__a=""))
    arn = publish(client, "same", archive(python__a=""))["LayerVersionArn"]
    function = {"FunctionName": "refused-layers", "Runtime": "python3.12", "Role": role_arn, "Handler": "app.handler",
                "Code": {"ZipFile": zipped()}}  # fmt: skip

    def says(code, *arns):
        return refused(code, client.create_function, **function, Layers=list(arns))["Error"]["Message"]

    same = f"{arn.rpartition(':')[0]}:1"
    missing = arn.replace(":same:", ":nothing:")
    wrong = "InvalidParameterValueException"
    assert says(wrong, missing) == f"Layer version {missing} does not exist."
    assert says(wrong, same, arn).endswith(f"{same} and {arn} are versions of the same layer.")
    many = [arn.replace(":same:", f":l{number}:") for number in range(6)]
    assert says(wrong, *many) == "Cannot reference more than 5 layers."
    assert "expected to be in region us-east-1" in says(wrong, arn.replace("us-east-1", "eu-west-1"))
    assert "lambda:GetLayerVersion" in says("AccessDeniedException", arn.replace("123456789012", "210987654321"))
    says("ValidationException", "same")
    refused("ResourceNotFoundException", client.get_function, FunctionName="refused-layers")
    refused("ValidationException", client.publish_layer_version, LayerName="a layer", Content={"ZipFile": zipped()})
    refused("ValidationException", client.publish_layer_version, LayerName=arn, Content={"ZipFile": zipped()})
    answer = refused(wrong, client.publish_layer_version, LayerName="bad", Content={"ZipFile": b"no zip"})
    assert "Could not unzip" in answer["Error"]["Message"]


def test_code_and_layers_together_have_a_largest_size(monkeypatch):
    sizes = {"code": LARGEST_UNZIPPED - 5, "layer": 6}
    monkeypatch.setattr(layers, "unzipped", lambda code: sizes[code])
    version = layers.LayerVersion("arn", 1, "layer", {})
    with pytest.raises(AwsError, match=f"The actual size is {LARGEST_UNZIPPED + 1} bytes"):
        layers.check_size("code", [version])
    sizes["layer"] = 5
    layers.check_size("code", [version])


@pytest.mark.parametrize("mounts", [True, False])
def test_where_an_environment_looks(monkeypatch, tmp_path, mounts):
    monkeypatch.setattr(opt, "mountable", lambda: mounts)
    place = "/opt" if mounts else str(tmp_path)
    found = opt.variables(tmp_path, "python3.12")
    assert found["PYTHONPATH"] == f"{place}/python/lib/python3.12/site-packages:{place}/python"
    assert found["PATH"].startswith(f"{place}/bin:")
    assert found["LD_LIBRARY_PATH"].startswith(f"{place}/lib")
    (tmp_path / "python").mkdir()
    seen = opt.seen(tmp_path, tmp_path / "opt")
    assert (seen is not None and seen.entries()) == (mounts and ["-", f"python={tmp_path}/python"])


def test_a_stack_makes_a_layer_and_takes_it_away(local_aws, client, bucket, wait_for):
    local_aws.client("s3").put_object(Bucket=bucket, Key="layer.zip", Body=archive(python__a="A = 1\n"))
    made = {"Type": "AWS::Lambda::LayerVersion",
            "Properties": {"LayerName": "stacked", "Content": {"S3Bucket": bucket, "S3Key": "layer.zip"}}}  # fmt: skip
    allowed = {"LayerVersionArn": {"Ref": "Layer"}, "Action": "lambda:GetLayerVersion", "Principal": "210987654321"}
    permission = {"Type": "AWS::Lambda::LayerVersionPermission", "Properties": allowed}
    template = {"Resources": {"Layer": made, "Permission": permission}, "Outputs": {"Arn": {"Value": {"Ref": "Layer"}}}}
    stacks = local_aws.client("cloudformation")
    stacks.create_stack(StackName="layers", TemplateBody=json.dumps(template))

    def stack():
        return stacks.describe_stacks(StackName="layers")["Stacks"][0]

    wait_for(lambda: stack()["StackStatus"] == "CREATE_COMPLETE")
    (output,) = stack()["Outputs"]
    assert client.get_layer_version_by_arn(Arn=output["OutputValue"])["Version"] == 1
    policy = json.loads(client.get_layer_version_policy(LayerName="stacked", VersionNumber=1)["Policy"])
    assert policy["Statement"][0]["Principal"] == {"AWS": "arn:aws:iam::210987654321:root"}
    identity = stacks.describe_stacks(StackName="layers")["Stacks"][0]["StackId"]
    stacks.delete_stack(StackName="layers")
    wait_for(lambda: stacks.describe_stacks(StackName=identity)["Stacks"][0]["StackStatus"] == "DELETE_COMPLETE")
    assert client.list_layer_versions(LayerName="stacked")["LayerVersions"] == []
