"""The proof that no role may do more or less than it has to: that it holds, and that it finds whatever is changed."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.infra import calls
from tests.infra.test_template import BESIDES
from tools.iam import evidence, policies, prove, record, resource_policies, templates
from tools.iam.evidence import Call, EvidenceError


@pytest.fixture(scope="module")
def roles() -> list[templates.Role]:
    return templates.every_role()


@pytest.fixture(scope="module")
def proof(roles) -> prove.Proof:
    return proved(roles)


def proved(roles: list[templates.Role], recorded: list[Call] | None = None) -> prove.Proof:
    simulated, listed = evidence.by_aws()
    known = evidence.recorded() if recorded is None else recorded
    found = prove.Proof(roles, [*known, *simulated], listed, evidence.forbidden())
    found.run()
    return found


def test_nothing_of_a_policy_could_change_unnoticed(proof):
    assert proof.findings == [], "docs/least_privilege.md says what to do"
    assert sum(each.unproven for each in proof.counts.values()) == 0
    actions = [each for (_, _, kind), each in proof.counts.items() if kind == "action"]
    assert sum(each.granted for each in actions) > 300
    assert sum(each.recorded for each in actions) > 100


def only(roles: list[templates.Role], name: str, stack: str = "musher.yaml") -> templates.Role:
    return next(each for each in roles if (each.stack, each.name) == (stack, name))


def statement(role: templates.Role, policy: str, sid: str) -> dict[str, Any]:
    return next(each for each in role.policies[policy]["Statement"] if each["Sid"] == sid)


@pytest.mark.parametrize(
    ("role", "policy", "sid", "change", "said"),
    [
        (  # an action that nobody calls
            "musher-training", "TrainingPolicy", "WriteOutputs", lambda each: each["Action"].append("s3:DeleteObject"),
            "TrainingPolicy.WriteOutputs, action s3:DeleteObject: no call is denied without it",
        ),
        (  # an action that another statement has as well
            "musher-ec2", "Ec2Policy", "WriteOutputs",
            lambda each: each.update(Action=["s3:GetObject", *each["Action"]],
                                     Resource=["arn:aws:s3:::musher-123456789012/pretrained/*", *each["Resource"]]),
            "Ec2Policy.ReadInputs, resource arn:aws:s3:::musher-123456789012/pretrained/*: no call is denied",
        ),
        (  # a resource that is too wide
            "musher-lambda", "LambdaPolicy", "Predict", lambda each: each.update(Resource=each["Resource"] + "*"),
            "musher-lambda may sagemaker:InvokeEndpoint on "
            "arn:aws:sagemaker:us-east-1:123456789012:endpoint/musher-image-classifier-rehearsal, which is forbidden: "
            "call a rehearsal's or a comparison's endpoint",
        ),
        (  # a condition that no call fulfils
            "musher-lambda", "LambdaPolicy", "Predict",
            lambda each: each.update(Condition={"StringLike": {"aws:PrincipalArn": "*"}}),
            "musher-lambda may not sagemaker:InvokeEndpoint",
        ),
        (  # something that is needed
            "musher-endpoint", "EndpointPolicy", "ReadModel", lambda each: each.update(Action="s3:GetObjectAcl"),
            "musher-endpoint may not s3:GetObject on "
            "arn:aws:s3:::musher-123456789012/jobs/musher-train-one-ID/output/model.tar.gz, which is recorded",
        ),
        (  # a condition's value
            "musher-training", "TrainingPolicy", "FindInputs",
            lambda each: each["Condition"]["StringLike"]["s3:prefix"].append("models/*"),
            "TrainingPolicy.FindInputs, value StringLike s3:prefix: models/*: no call is denied without it",
        ),
    ],
)  # fmt: skip
def test_what_is_changed_is_found(roles, role, policy, sid, change: Callable[[dict[str, Any]], Any], said):
    mine = copy.deepcopy(only(roles, role))
    change(statement(mine, policy, sid))
    assert any(said in each for each in proved([mine]).findings), proved([mine]).findings


def test_a_condition_that_nothing_forbidden_asks_about_is_found(roles):
    mine = copy.deepcopy(only(roles, "musher-lambda"))
    statement(mine, "LambdaPolicy", "Predict")["Condition"] = {"Null": {"aws:SourceVpc": "true"}}
    assert proved([mine]).findings == [
        "musher.yaml: musher-lambda, LambdaPolicy.Predict, condition dropped Null aws:SourceVpc: true: "
        "nothing forbidden becomes possible"
    ]


def test_a_call_that_is_no_longer_made_is_found(roles):
    mine = only(roles, "musher-lambda")
    found = proved([mine], [each for each in evidence.recorded() if each.action != "sagemaker:InvokeEndpoint"])
    assert "musher.yaml: musher-lambda, LambdaPolicy.Predict, action sagemaker:InvokeEndpoint: no call is denied " \
        "without it" in found.findings  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "wider"),
    [
        ("arn:aws:s3:::b/jobs/*", "arn:aws:s3:::b/*"),
        ("arn:aws:s3:::b/*", "arn:aws:s3:::*"),
        ("arn:aws:s3:::b", "arn:aws:s3:::*"),
        ("arn:aws:sagemaker:r:1:endpoint/mine", "arn:aws:sagemaker:r:1:endpoint/*"),
        ("arn:aws:sagemaker:r:1:endpoint/*", "*"),
        ("arn:aws:lambda:r:1:function:mine:*", "arn:aws:lambda:r:1:function:*"),
        ("arn:aws:logs:r:1:log-group:/aws/lambda/mine:*", "arn:aws:logs:r:1:log-group:*"),
        ("arn:aws:sns:r:1:topic", "arn:aws:sns:r:1:*"),
        ("arn:aws:ssm:r::parameter/aws/service/*", "arn:aws:ssm:r::parameter/*"),
    ],
)
def test_a_pattern_is_widened_by_one_step(pattern, wider):
    assert policies.widened(pattern) == wider


def test_the_policies_are_those_that_a_stack_makes(aws, deploy, roles):
    """In the local AWS, with the same parameters; the documents that IAM has, and what may take the roles."""
    deploy("musher", DatasetBucket=templates.ELSEWHERE)
    iam = aws.client("iam")
    for role in [each for each in roles if each.stack == "musher.yaml"]:
        inline = iam.list_role_policies(RoleName=role.name)["PolicyNames"]
        made = [iam.get_role_policy(RoleName=role.name, PolicyName=each)["PolicyDocument"] for each in inline]
        for each in iam.list_attached_role_policies(RoleName=role.name)["AttachedPolicies"]:
            version = iam.get_policy(PolicyArn=each["PolicyArn"])["Policy"]["DefaultVersionId"]
            made.append(
                iam.get_policy_version(PolicyArn=each["PolicyArn"], VersionId=version)["PolicyVersion"]["Document"]
            )
        assert {as_text(each) for each in made} == {as_text(each) for each in role.policies.values()}, role.name
        assert iam.get_role(RoleName=role.name)["Role"]["AssumeRolePolicyDocument"] == role.trust


def as_text(document: dict[str, Any]) -> str:
    return re.sub(r"\bsg-[0-9a-f]+", templates.GROUP, json.dumps(document, sort_keys=True))


# --- the recording


@pytest.mark.parametrize(
    ("drawn", "same"),
    [
        (
            "arn:aws:s3:::musher-123456789012/runs/manual-2026-12-01T13-05-54-138128-4f2a/report.json",
            "arn:aws:s3:::musher-123456789012/runs/RUN/report.json",
        ),
        (
            "arn:aws:s3:::musher-123456789012/dataset/sample/train/001.Ash_spitz/Ash_spitz_00049.jpg",
            "arn:aws:s3:::musher-123456789012/dataset/sample/train/BREED/PICTURE.jpg",
        ),
        (
            "arn:aws:sagemaker:us-east-1:123456789012:training-job/musher-tune-0a1b2c3d-001-9f8e7d6c",
            "arn:aws:sagemaker:us-east-1:123456789012:training-job/musher-tune-ID",
        ),
        (
            "arn:aws:ec2:us-east-1:123456789012:security-group/sg-0123456789abcdef0",
            f"arn:aws:ec2:us-east-1:123456789012:security-group/{templates.GROUP}",
        ),
        (
            "arn:aws:lambda:us-east-1:123456789012:function:musher-classifier:12",
            "arn:aws:lambda:us-east-1:123456789012:function:musher-classifier:N",
        ),
        ("musher", "musher"),
    ],
)
def test_what_a_run_draws_is_not_recorded(drawn, same):
    assert record.stable(drawn) == same
    assert record.stable(same) == same


def test_the_recording_is_as_it_is_written_and_names_no_key_or_path():
    text = record.FILE.read_text()
    assert text == record.written(evidence.recorded())
    assert re.findall(r"AKIA|ASIA|/tmp|/work|/home|127\.0\.0\.1", text) == []


def test_what_is_recorded_is_still_called():
    """The chain is run seldom: what the code calls no more must not go on proving anything."""
    files = sorted((calls.ROOT / "plugins/musher").rglob("*.py"))
    used = set().union(*(actions for sets in calls.needed(files).values() for actions in sets))
    recorded = {each.action for each in evidence.recorded() if each.role == "musher-airflow"}
    assert recorded - used - BESIDES == set(), "record anew: docs/least_privilege.md"


def test_a_call_of_another_kind_is_missing_in_the_recording_and_one_of_another_name_is_not():
    role, bucket = "arn:aws:iam::123456789012:role/musher-ec2", "arn:aws:s3:::musher-123456789012"
    known = {"action": "s3:GetObject", "resource": f"{bucket}/dataset/other/train/a/1.jpg", "allowed": True}
    new = {"action": "s3:DeleteObject", "resource": f"{bucket}/jobs/musher-train-on-ec2-1/a", "allowed": True}
    denied = {"action": "s3:GetObject", "resource": f"{bucket}/runs/a", "allowed": False}
    assert record.missing({role: [known, denied], "arn:aws:iam::123456789012:user/administrator": [new]}) == []
    assert record.missing({role: [known, new]}) == [
        f"musher-ec2: s3:DeleteObject on {bucket}/jobs/musher-train-on-ec2-N/a"
    ]


# --- what is written by hand


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("by_aws", '[[training]]\nactions = ["s3:GetObject"]\npage = "a blog"', "names no page of AWS's"),
        ("by_aws", '[[training]]\nactions = ["a:B"]\nresource = "*"', "has resource"),
        ("forbidden", '[[training]]\nwhat = "nothing"', "has no actions"),
        ("forbidden", '[[ec2]]\nwhat = "a"\nactions = ["a:B"]\nresources = ["{nobody}"]', "has a name that is none of"),
        ("forbidden", '[[trainer]]\nwhat = "a"\nactions = ["a:B"]', "there is no role musher-trainer"),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_named(tmp_path, monkeypatch, name, text, said):
    (tmp_path / f"{name}.toml").write_text(text)
    monkeypatch.setattr(evidence, "FOLDER", tmp_path)
    with pytest.raises(EvidenceError, match=re.escape(said)):
        getattr(evidence, name)()


def test_the_command_prints_the_table_and_ends_well(capsys):
    assert prove.main([]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == "What could change without being noticed: nothing."
    assert re.search(r"^all +\d+ +\d+ +\d+ +0 +\d+ +0$", said, re.MULTILINE)


def test_without_a_local_aws_there_is_a_sentence(capsys):
    assert prove.main(["--port", "1"]) == 1
    assert record.main(["--port", "1"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert all("1" in each and "Traceback" not in each for each in said)


def test_every_part_of_a_resources_policy_is_noticed_by_somebody():
    changed, findings = resource_policies.prove()
    assert findings == []
    assert changed > 25


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("trust.lambda", lambda each: each["Principal"].update(Service=["lambda.amazonaws.com", "ec2.amazonaws.com"]),
         "trust.lambda: another service: that works"),
        ("trust.training", lambda each: each.pop("Condition"),
         "trust.training: SageMaker on another account's behalf: that works"),
        ("trust.ec2", lambda each: each.update(Condition={"StringEquals": {"aws:SourceAccount": "123456789012"}}),
         "trust.ec2: EC2 runs the training instances: that is refused"),
        ("topic", lambda each: each.update(Principal={"Service": ["events.amazonaws.com", "sqs.amazonaws.com"]}),
         "topic: Events, without Principal Service sqs.amazonaws.com: nobody would notice"),
        ("bucket", lambda each: each.update(Resource=each["Resource"][:1]),
         "bucket: an object that is read where others can hear it: that works"),
    ],
)  # fmt: skip
def test_what_is_changed_of_a_resources_policy_is_found(name, change, said):
    (mine,) = [copy.deepcopy(each) for each in resource_policies.held() if each.name == name]
    change(mine.document["Statement"][0])
    assert said in resource_policies.prove([mine])[1]
