"""The template: AWS's own checks of it, and the rules of least privilege."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from fnmatch import fnmatchcase as fnmatch
from typing import Any

import pytest
from musher import images, names
from musher.config import Environment
from musher.names import Run

from tests.infra import calls, policy_rules
from tools import infrastructure
from tools.cloudformation import FOLDER, InfrastructureError, as_sent

BODY = infrastructure.TEMPLATE.read_text()
TEMPLATE = infrastructure.load(BODY)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.name)
def test_every_template_fits_into_a_request(path):
    """What is sent means the same, without comments and white space."""
    sent = as_sent(path.read_text())
    assert len(sent.encode()) <= 51_200  # CloudFormation API reference, CreateStack, TemplateBody
    assert infrastructure.load(sent) == infrastructure.load(path.read_text())


def test_a_template_that_is_too_large_is_not_sent():
    large = BODY + "".join(f"  Another{number}: {{Value: {'x' * 50}}}\n" for number in range(200))
    with pytest.raises(InfrastructureError, match=r"^A template has \d\d,\d{3} bytes as it is sent; .* 51,200\.$"):
        as_sent(large)


def test_every_rule_is_kept():
    assert policy_rules.broken(TEMPLATE) == []
    assert len(list(policy_rules.statements(TEMPLATE))) > 40, "the rules looked at nothing"


def statement(template: dict[str, Any], policy: str, sid: str) -> dict[str, Any]:
    document = template["Resources"][policy]["Properties"]["PolicyDocument"]
    return next(each for each in document["Statement"] if each["Sid"] == sid)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: statement(t, "AirflowJobsManagedPolicy", "Training").update(Action="sagemaker:*"), "has the action"),
        (
            lambda t: statement(t, "AirflowJobsManagedPolicy", "Training").update(Action=["s3:Get*"]),
            "has the action s3:Get*",
        ),
        (lambda t: statement(t, "LambdaPolicy", "Predict").update(Resource="*"), "is open (*) without a reason"),
        (
            lambda t: statement(t, "LambdaPolicy", "Predict").update(Resource={"Fn::Sub": "arn:aws:sagemaker:::x/*"}),
            "is open",
        ),
        (lambda t: t["Resources"]["TrainingPolicy"]["Metadata"]["OpenResources"].pop("Metrics"), "Metrics is open"),
        (lambda t: statement(t, "TrainingPolicy", "Metrics").update(Resource="arn:x"), "and is not"),
        (
            lambda t: statement(t, "AirflowJobsManagedPolicy", "PassToEc2").pop("Condition"),
            "without naming the service",
        ),
        (
            lambda t: statement(t, "AirflowJobsManagedPolicy", "PassToEc2").update(
                Resource={"Fn::Sub": "${ProjectName}-*"}
            ),
            "not the template's",
        ),
        (lambda t: statement(t, "LambdaPolicy", "Predict").pop("Sid"), "has no Sid"),
        (lambda t: statement(t, "LambdaPolicy", "Predict").update(NotAction="iam:*"), "leaving out"),
        (lambda t: t["Resources"].update(Me={"Type": "AWS::IAM::User", "Properties": {}}), "do not end"),
        (lambda t: t["Resources"]["Ec2Role"]["Properties"].update(ManagedPolicyArns=["a"]), "no rule looks at"),
        (lambda t: t["Parameters"].update(DbPassword={"Type": "String"}), "looks like a secret"),
        (
            lambda t: t["Resources"]["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"][0].update(
                Effect="Allow"
            ),
            "BucketPolicy allows s3:*",
        ),
    ],
)
def test_a_broken_rule_is_found(change: Callable[[dict[str, Any]], Any], sentence: str):
    template = copy.deepcopy(TEMPLATE)
    change(template)
    found = policy_rules.broken(template)
    assert any(sentence in each for each in found), found


def allowed(*policies: str) -> set[str]:
    """The actions of these policies."""
    return {
        action for each in policy_rules.statements(TEMPLATE) if each.resource in policies for action in each.actions
    }


AIRFLOW = [name for name in TEMPLATE["Resources"] if name.startswith("Airflow") and name.endswith("Policy")]
# What AWS asks of a caller beside the call itself, or does in his name.
BESIDES = {
    "cloudwatch:DeleteAlarms", "cloudwatch:DescribeAlarms", "cloudwatch:PutMetricAlarm", "ec2:CreateTags",
    "ecr:BatchGetImage", "ecr:DescribeImages", "iam:CreateServiceLinkedRole", "iam:PassRole",
    "lambda:InvokeFunctionUrl", "lambda:TagResource", "s3:GetObjectTagging", "s3:PutObjectTagging",
    "sagemaker:AddTags", "sagemaker:UpdateEndpointWeightsAndCapacities",
}  # fmt: skip


@pytest.mark.parametrize(
    ("code", "policies", "fewest"),
    [("plugins/musher", AIRFLOW, 50), ("ml_scripts/run_on_ec2.py", ["Ec2Policy"], 3), ("lambda", ["LambdaPolicy"], 1)],
)
def test_every_call_of_the_code_has_its_action(code: str, policies: list[str], fewest: int):
    place = calls.ROOT / code
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
    there = allowed(*policies)
    needed = calls.needed(files)
    missing = {call: sets for call, sets in needed.items() if not any(actions <= there for actions in sets)}
    assert missing == {}, "add the action to infra/musher.yaml (or, if it is no call, to NO_CALLS in calls.py)"
    assert len(needed) >= fewest, "the code has fewer calls than it is known to make"


def test_airflow_may_do_nothing_that_the_code_does_not():
    needed = calls.needed(sorted((calls.ROOT / "plugins/musher").rglob("*.py")))
    used = set().union(*(actions for sets in needed.values() for actions in sets))
    assert allowed(*AIRFLOW) - used - BESIDES == set()


def managed() -> dict[str, Any]:
    return {name: each for name, each in TEMPLATE["Resources"].items() if each["Type"] == "AWS::IAM::ManagedPolicy"}


def size(document: dict[str, Any]) -> int:
    """The characters of a policy that IAM counts, with the longest project, region and partition."""
    text = json.dumps(policy_rules.filled_in(document), separators=(",", ":"))
    for short, long in (("musher", "m" * 15), ("us-east-1", "us-gov-west-1"), ("arn:aws:", "arn:aws-us-gov:")):
        text = text.replace(short, long)
    return len(text)


def test_airflows_policies_fit():
    """IAM quotas: a managed policy has at most 6,144 characters, and a role at most 10 of them: MWAA's is one more.

    The quota counts no white space.
    """
    assert managed().keys() == set(AIRFLOW)
    assert len(managed()) <= 9
    for name, each in managed().items():
        assert each["Properties"]["Roles"] == [{"Ref": "AirflowRole"}]
        characters = size(each["Properties"]["PolicyDocument"])
        assert 0 < characters < 6_144 - 400, f"{name} has {characters} characters: there is hardly room for one more"


def test_inline_policies_fit():
    """IAM quotas: the inline policies of a role have at most 10,240 characters in all, filled in as above."""
    sizes: dict[str, int] = {}
    for each in TEMPLATE["Resources"].values():
        if each["Type"] == "AWS::IAM::Policy":
            (role,) = each["Properties"]["Roles"]
            sizes[role["Ref"]] = sizes.get(role["Ref"], 0) + size(each["Properties"]["PolicyDocument"])
    assert "AirflowRole" not in sizes
    assert len(sizes) >= 5
    assert max(sizes.values()) < 10_240 / 2


def test_a_rehearsals_function_reaches_nothing_that_serves():
    """What it runs as is what the function's role is, under the rehearsal's names; and nothing of the other's."""
    serving, rehearsing = names.Stack("${ProjectName}"), names.Stack("${ProjectName}", rehearsal=True)
    for policy, stack in (("LambdaPolicy", serving), ("LambdaRehearsalPolicy", rehearsing)):
        predict, write = (statement(TEMPLATE, policy, sid) for sid in ("Predict", "WriteLog"))
        (endpoint,) = policy_rules.arns(predict["Resource"])
        assert endpoint.endswith(f":endpoint/{stack.endpoint}")
        groups = [arn.partition(":log-group:")[2] for arn in policy_rules.arns(write["Resource"])]
        assert groups == [stack.log_group, f"{stack.log_group}:*"]
    assert allowed("LambdaRehearsalPolicy") == allowed("LambdaPolicy")
    for role, stack in (("LambdaRole", serving), ("LambdaRehearsalRole", rehearsing)):
        assert TEMPLATE["Resources"][role]["Properties"]["RoleName"] == {"Fn::Sub": stack.role}


@pytest.mark.parametrize(
    ("policy", "sid", "wanted"),
    [
        ("AirflowDeploymentManagedPolicy", "Endpoint", {"endpoint/{0.endpoint}"}),
        ("AirflowDeploymentManagedPolicy", "ScalingAlarms", {"alarm:TargetTracking-endpoint/{0.endpoint}/*"}),
        ("AirflowFunctionManagedPolicy", "Function", {"function:{0.function}", "function:{0.function}:*"}),
        (
            "EndpointPolicy",
            "WriteLog",
            {f"log-group:/aws/sagemaker/Endpoints/{{0.endpoint}}{end}" for end in ("", ":*")},
        ),
    ],
)
def test_what_airflow_may_do_to_what_serves_it_may_do_to_a_rehearsal(policy: str, sid: str, wanted: set[str]):
    found = {
        arn.partition("${AWS::AccountId}:")[2]
        for arn in policy_rules.arns(statement(TEMPLATE, policy, sid)["Resource"])
    }
    for rehearsal in (False, True):
        assert {each.format(names.Stack("${ProjectName}", rehearsal)) for each in wanted} <= found


def test_airflow_deletes_the_log_group_of_a_rehearsal_only():
    """The other one is a resource of the stack, whose retention could not be changed once it had gone."""
    found = policy_rules.arns(statement(TEMPLATE, "AirflowFunctionManagedPolicy", "FunctionLog")["Resource"])
    group = names.Stack("${ProjectName}", rehearsal=True).log_group
    assert [arn.partition("${AWS::AccountId}:log-group:")[2] for arn in found] == [group, f"{group}:*"]


def test_airflow_registers_in_the_one_group_that_it_may_use():
    group = names.model_package_group("${ProjectName}")
    found = policy_rules.arns(statement(TEMPLATE, "AirflowJobsManagedPolicy", "Registry")["Resource"])
    assert [arn.partition("${AWS::AccountId}:")[2] for arn in found] == [
        f"model-package-group/{group}",
        f"model-package/{group}/*",
    ]


def test_airflow_may_compare_models_and_their_endpoint_may_log():
    compared = names.comparison_endpoint("${ProjectName}")
    for policy, sid, wanted in (
        ("AirflowDeploymentManagedPolicy", "Endpoint", {f"endpoint/{compared}"}),
        ("EndpointPolicy", "WriteLog", {f"log-group:/aws/sagemaker/Endpoints/{compared}{end}" for end in ("", ":*")}),
    ):
        found = policy_rules.arns(statement(TEMPLATE, policy, sid)["Resource"])
        assert wanted <= {arn.partition("${AWS::AccountId}:")[2] for arn in found}


def test_the_bucket_is_closed():
    bucket = TEMPLATE["Resources"]["Bucket"]["Properties"]
    assert list(bucket["PublicAccessBlockConfiguration"].values()) == [True] * 4
    document = TEMPLATE["Resources"]["BucketPolicy"]["Properties"]["PolicyDocument"]
    assert {"Bool": {"aws:SecureTransport": "false"}} in [each["Condition"] for each in document["Statement"]]


def test_the_life_cycle_keeps_what_later_runs_read():
    """The quality gate reads evaluations under runs/, registered models are under jobs/, data sets are for ever."""
    rules = TEMPLATE["Resources"]["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    expiring = {str(rule["Prefix"]) for rule in rules if "ExpirationInDays" in rule}
    assert expiring == {"{'Fn::Sub': 'jobs/${ProjectName}-tune-'}", "checkpoints/", "capture/"}


def test_outputs_are_fields_of_the_variable():
    values = infrastructure.variable_values(dict.fromkeys(TEMPLATE["Outputs"], "1"))
    assert values.keys() <= Environment.model_fields.keys()
    required = {name for name, field in Environment.model_fields.items() if field.is_required()}
    assert required <= values.keys()
    assert values["ssh_port"] == 1


def test_a_training_instance_writes_where_nothing_is_that_is_served():
    policy = TEMPLATE["Resources"]["Ec2Policy"]["Properties"]["PolicyDocument"]
    written = [each for each in policy["Statement"] if "s3:PutObject" in each["Action"]]
    patterns = [each["Fn::Sub"].removeprefix("${Bucket.Arn}/") for each in written[0]["Resource"]]
    patterns = [each.replace("${ProjectName}", "musher") for each in patterns]
    run = Run("train_on_ec2", "manual__2026-01-01")
    mine = run.name("musher", names.TRAIN_ON_EC2)
    for folder in ("jobs", "checkpoints"):
        assert [each for each in patterns if fnmatch(f"{folder}/{mine}/output/model.tar.gz", each)]
    for step in (each for each in names.STEPS if each is not names.TRAIN_ON_EC2):
        other = f"jobs/{run.name('musher', step)}/output/model.tar.gz"
        assert not [each for each in patterns if fnmatch(other, each)], other


def test_roles_may_pull_the_images_that_are_used():
    assert {region: each["Account"] for region, each in TEMPLATE["Mappings"]["AwsImages"].items()} == images.accounts()
    for policy, sid, purpose in (
        ("TrainingPolicy", "PullImage", images.TRAINING),
        ("EndpointPolicy", "PullImage", images.INFERENCE),
        ("AirflowJobsManagedPolicy", "RegisteredImage", images.INFERENCE),
    ):
        _, _, aws = statement(TEMPLATE, policy, sid)["Resource"]["Fn::If"]
        assert aws["Fn::Sub"][0].endswith(f":repository/{images.used(purpose).repository}")
