"""Debugger's rules of a training job, as SageMaker's SDK 2 asks for them: what becomes of them, and what follows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local_aws.control import tell
from local_aws.training import debugger
from tests.local_aws.event_rules import Listening
from tests.local_aws.training_scripts import Jobs

IMAGE = "503895931360.dkr.ecr.us-east-1.amazonaws.com/sagemaker-debugger-rules:latest"
# ActionList(StopTraining(), Email("a@example.com")).serialize() of smdebug_rulesconfig 1.0.1; the SDK adds the prefix.
ACTIONS = (
    r'[{\"name\": \"stoptraining\", \"training_job_prefix\": \"NAME\"}, '
    r'{\"endpoint\": \"a@example.com\", \"name\": \"email\"}]'
)  # fmt: skip


def rule(name: str, **parameters: str) -> dict:
    return {
        "RuleConfigurationName": name,
        "RuleEvaluatorImage": IMAGE,
        "RuleParameters": {"rule_to_invoke": name, **parameters},
    }


@pytest.fixture(scope="module")
def jobs(local_aws, bucket, role_arn, wait_for):
    return Jobs(local_aws, bucket, role_arn, wait_for)


@pytest.mark.slow
def test_a_job_has_what_its_script_says_of_the_rules_and_is_stopped_by_one(jobs, local_aws, wait_for):
    # GIVEN a request as the SDK makes it of rule_configs, with a rule that is to stop the job
    request = jobs.request("diagnosed")
    name, output = request["TrainingJobName"], f"s3://{jobs.bucket}/debug"
    request |= {
        "DebugHookConfig": {"S3OutputPath": output, "CollectionConfigurations": [{"CollectionName": "gradients"}]},
        "DebugRuleConfigurations": [
            rule("VanishingGradient", action_json=ACTIONS.replace("NAME", name)),
            rule("Overfit"),
            rule("AllZero", threshold="90"),
            rule("TreeDepth"),
        ],
        "ProfilerConfig": {"S3OutputPath": output, "ProfilingIntervalInMilliseconds": 500},
        "ProfilerRuleConfigurations": [rule("Dataloader", scan_interval_us="60000000"), rule("BatchSize")],
        "TensorBoardOutputConfig": {"S3OutputPath": f"s3://{jobs.bucket}/boards"},
    }
    fired = {"detail": {"DebugRuleEvaluationStatuses": {"RuleEvaluationStatus": ["IssuesFound"]}}}
    listening = Listening(local_aws, wait_for, fired)
    jobs.sagemaker.create_training_job(**request)
    at_first = jobs.describe(name)["DebugRuleEvaluationStatuses"]
    assert {each["RuleEvaluationStatus"] for each in at_first} == {"InProgress"}
    # WHEN the script says that the rule has found something
    described = jobs.end(name)
    # THEN the job is stopped, and each rule has a status, with a reason where it has none
    assert described["TrainingJobStatus"] == "Stopped", described
    rules = {each["RuleConfigurationName"]: each for each in described["DebugRuleEvaluationStatuses"]}
    assert {each: found["RuleEvaluationStatus"] for each, found in rules.items()} == {
        "VanishingGradient": "IssuesFound", "Overfit": "NoIssuesFound", "AllZero": "Stopped", "TreeDepth": "Stopped",
    }  # fmt: skip
    assert rules["VanishingGradient"]["StatusDetails"] == "step=3 value=1e-9 threshold=1e-7: gone"
    assert rules["Overfit"]["StatusDetails"] == "looked at 3"
    assert "asked for with threshold=90 (100.0)" in rules["AllZero"]["StatusDetails"]
    assert "handed to no script, and hyperparameters are" in rules["AllZero"]["StatusDetails"]
    assert "it is about trees of XGBoost" in rules["TreeDepth"]["StatusDetails"]
    assert ":processing-job/" in rules["Overfit"]["RuleEvaluationJobArn"]
    profiler = {each["RuleConfigurationName"]: each for each in described["ProfilerRuleEvaluationStatuses"]}
    assert profiler["Dataloader"]["StatusDetails"] == "no workers"
    assert "no longer open to new customers" in profiler["BatchSize"]["StatusDetails"]
    # AND the hook's configuration was there, what TensorBoard shows is in S3, and whoever is to know was told
    (facts,) = jobs.facts(name)
    assert facts["hook"] == request["DebugHookConfig"]
    key = f"boards/{name}/tensorboard-output/run/events.out"
    assert jobs.s3.get_object(Bucket=jobs.bucket, Key=key)["Body"].read() == b"curves"
    wait_for(lambda: "SMDebugRule:VanishingGradient fired. step=3" in tell(local_aws.port, "published", {}))
    assert listening.until(bool)[0]["detail"]["TrainingJobName"] == name
    listening.close()


@pytest.mark.parametrize(
    ("left", "status", "part"),
    [
        (None, "Stopped", "this job left no diagnostics.json"),
        ("no JSON", "Stopped", "this job left no diagnostics.json"),
        ({"rules": "none"}, "Stopped", "this job left no diagnostics.json"),
        ({"rules": []}, "Stopped", "has no rule of this name"),
        ({"rules": [{"rule": "Overfit", "status": "Fine"}]}, "Error", "gives it the status Fine"),
        ({"rules": [{"rule": "Overfit", "status": "Error", "status_details": "broke"}]}, "Error", "broke"),
    ],
)
def test_whatever_a_script_leaves_each_rule_gets_a_status(tmp_path, left, status, part):
    if left is not None:
        (tmp_path / "diagnostics.json").write_text(left if isinstance(left, str) else json.dumps(left))
    request = {"TrainingJobName": "job", "DebugRuleConfigurations": [rule("Overfit")]}
    rules = debugger.Rules(request, "arn:aws:sagemaker:us-east-1:123456789012:training-job/job")
    assert rules.hear("DiagnosticRule Confusion: IssuesFound somewhere else") == []
    assert rules.conclude([tmp_path / "not there", tmp_path]) == []
    (found,) = rules.describe()["DebugRuleEvaluationStatuses"]
    assert found["RuleEvaluationStatus"] == status
    assert part in found["StatusDetails"]


def test_the_page_for_those_who_come_from_debugger_has_every_rule():
    page = (Path(__file__).parents[2] / "docs/debugger.md").read_text()
    for names in (debugger.DEBUG_RULES, debugger.PROFILER_RULES):
        assert {name for name in names if f"`{name}`" not in page} == set()
