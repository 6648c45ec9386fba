"""What CreateTrainingJob refuses: the error's code, and a sentence that names what is wrong."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from tests.local_aws.training_scripts import Jobs

OTHER_ROLE = "arn:aws:iam::123456789012:role/nobody"


@pytest.fixture(scope="module")
def jobs(local_aws, bucket, role_arn, wait_for):
    return Jobs(local_aws, bucket, role_arn, wait_for)


def stopping(**limits):
    return lambda request: request["StoppingCondition"].update(limits)


def spot(**limits):
    return lambda request: request.update(EnableManagedSpotTraining=True, StoppingCondition=limits)


def put(path: str, value):
    """Sets one member of a request: `put("ResourceConfig.InstanceType", "ml.huge")`."""
    *parents, last = path.split(".")

    def change(request):
        for name in parents:
            request = request[int(name) if name.isdigit() else name]
        request[last] = value

    return change


def rule(parameters, **members):
    image = "503895931360.dkr.ecr.us-east-1.amazonaws.com/sagemaker-debugger-rules:latest"
    one = {"RuleConfigurationName": "r", "RuleEvaluatorImage": image, "RuleParameters": parameters, **members}
    return lambda request: request.update(DebugRuleConfigurations=[one])


REFUSED = {
    "missing output bucket": (put("OutputDataConfig.S3OutputPath", "s3://nowhere-at-all/jobs"), "nowhere-at-all"),
    "missing channel bucket": (
        put("InputDataConfig.0.DataSource.S3DataSource.S3Uri", "s3://nowhere-at-all/x"),
        "channel train: the bucket 'nowhere-at-all'",
    ),
    "channel twice": (put("InputDataConfig.0.ChannelName", "code"), "'code' is there twice"),
    "unknown role": (put("RoleArn", OTHER_ROLE), f"Could not assume role {OTHER_ROLE}"),
    "pipe mode": (put("AlgorithmSpecification.TrainingInputMode", "Pipe"), "input mode File, not Pipe"),
    "unknown instance type": (put("ResourceConfig.InstanceType", "ml.huge.large"), "ml.huge.large.*enum value set"),
    "no instances": (put("ResourceConfig.InstanceCount", 0), "InstanceCount"),
    "name too long": (put("TrainingJobName", "n" * 64), "less than or equal to 63"),
    "bad name": (put("TrainingJobName", "no_underscores"), "regular expression pattern"),
    "wait without spot": (stopping(MaxWaitTimeInSeconds=600), "EnableManagedSpotTraining"),
    "wait below runtime": (
        spot(MaxRuntimeInSeconds=600, MaxWaitTimeInSeconds=500),
        r"greater than or equal to MaxRuntimeInSeconds \(600\).*it is 500",
    ),
    "metric that is no expression": (
        put("AlgorithmSpecification.MetricDefinitions", [{"Name": "loss", "Regex": "loss=("}]),
        r"'loss=\(' of metric 'loss' is not a regular expression",
    ),
    "empty prefix": (
        put("InputDataConfig.0.DataSource.S3DataSource.S3Uri", "s3://test-bucket/no/such/prefix/"),
        'No S3 objects found under S3 URL "s3://test-bucket/no/such/prefix/" given in input data source',
    ),
    "more than 28 days": (stopping(MaxRuntimeInSeconds=28 * 86_400 + 1), "at most 2419200 .28 days., not 2419201"),
    "arguments without an entry point": (
        put("AlgorithmSpecification.ContainerArguments", ["train"]),
        "ContainerArguments: .* give ContainerEntrypoint as well",
    ),
    "tag twice": (
        put("Tags", [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]),
        "tag key a is there twice",
    ),
    "tag of AWS's own": (put("Tags", [{"Key": "aws:a", "Value": "1"}]), "aws: prefixed tag key names are not allowed"),
    "rule of one's own": (
        rule({"rule_to_invoke": "Mine", "source_s3_uri": "s3://test-bucket/rule.py"}),
        "rule r .* runs no rules of one's own",
    ),
    "unknown rule": (rule({"rule_to_invoke": "Mine"}), "rule_to_invoke, one of AllZero, .*, not Mine"),
    "profiler rule among the others": (rule({"rule_to_invoke": "BatchSize"}), "not BatchSize"),
    "unknown action": (rule({"rule_to_invoke": "Overfit", "action_json": '[{"name": "call"}]'}), "has the action"),
    "action that is no JSON": (
        rule({"rule_to_invoke": "Overfit", "action_json": "stop"}),
        "action_json that is no JSON",
    ),
    "rule with an instance": (
        rule({"rule_to_invoke": "Overfit"}, InstanceType="ml.m5.large"),
        "no rule has an instance or an output here",
    ),
    "interval of the profiler": (
        lambda request: request.update(ProfilerConfig={"ProfilingIntervalInMilliseconds": 250}),
        "one of 100, .*not 250",
    ),
    "framework profiling": (
        lambda request: request.update(ProfilerConfig={"ProfilingParameters": {"DataloaderProfilingConfig": "{}"}}),
        "deprecated framework profiling",
    ),
    "checkpoints outside of /opt/ml": (
        lambda request: request.update(CheckpointConfig={"S3Uri": "s3://test-bucket/c", "LocalPath": "/data"}),
        "below /opt/ml here, not '/data'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_request_is_refused_with_a_sentence(jobs, case):
    change, sentence = REFUSED[case]
    request = jobs.request()
    change(request)
    with pytest.raises(ClientError, match=sentence) as refused:
        jobs.sagemaker.create_training_job(**request)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    with pytest.raises(ClientError):
        jobs.describe(request["TrainingJobName"])


def test_a_job_that_does_not_exist(jobs):
    with pytest.raises(ClientError, match="not found") as refused:
        jobs.describe("never-made")
    assert refused.value.response["Error"]["Code"] == "ValidationException"
