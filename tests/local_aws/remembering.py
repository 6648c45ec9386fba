"""A local AWS with something of everything in it, and what is asked of it before and after a restart."""

from __future__ import annotations

import datetime as dt
import io
import json
import time
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from local_aws.control import tell
from tests.local_aws.daemon import Daemon, make_role, wait_for
from tests.local_aws.ec2_hosts import SPOT, Hosts
from tests.local_aws.serving import Serving
from tests.local_aws.training_scripts import ENDED, Jobs

RESTARTED = "the local AWS was restarted"
BUCKET, GROUP, FUNCTION, LOGS = "remembered", "birds", "remembered-function", "/tests/remembered"
SCALED = {"ServiceNamespace": "sagemaker", "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"}
SOURCE = """
import os
def handler(event, context):
    return {"version": context.function_version, "kind": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]}
"""
SOON = ("--save-every", "0.3s")


def state_of(daemon: Daemon) -> dict[str, Any]:
    """What the daemon says of its state."""
    with urllib.request.urlopen(f"{daemon.url}/_local_aws/health", timeout=30) as answer:
        return json.load(answer)["state"]


def wait_until_saved(daemon: Daemon) -> None:
    """Everything that was answered before this call is saved when it returns."""
    before = state_of(daemon)["saves"]
    # The first save that ends may have begun before; the second one has not.
    wait_for(lambda: (now := state_of(daemon))["saved"] or now["saves"] >= before + 2, 120, "it was not saved")


@dataclass
class World:
    """Names and facts of what `fill` has made; `before` is how it was described then."""

    daemon: Daemon
    endpoint: str = ""
    finished: str = ""
    running: str = ""
    tuned: str = ""
    tuning: str = ""
    host: str = ""
    stopped_host: str = ""
    spot_request: str = ""
    package: str = ""
    role: str = ""
    version: str = ""
    filled_at: float = 0.0
    restarted_at: dt.datetime | None = None
    before: dict[str, Any] | None = None

    def client(self, name: str) -> Any:
        return self.daemon.client(name)

    def training_job(self, name: str) -> dict[str, Any]:
        return self.client("sagemaker").describe_training_job(TrainingJobName=name)

    def tuning_job(self, name: str) -> dict[str, Any]:
        return self.client("sagemaker").describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)

    def trials(self, name: str) -> list[dict[str, Any]]:
        listed = self.client("sagemaker").list_training_jobs_for_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=name
        )
        return listed["TrainingJobSummaries"]

    def described(self) -> dict[str, Any]:
        """What must be the same before and after."""
        sagemaker, iam, s3 = self.client("sagemaker"), self.client("iam"), self.client("s3")
        scaling, functions = self.client("application-autoscaling"), self.client("lambda")
        endpoint = sagemaker.describe_endpoint(EndpointName=self.endpoint)
        arn = endpoint["EndpointArn"]
        asked: dict[str, Callable[[], Any]] = {
            "objects": lambda: s3.list_object_versions(Bucket=BUCKET, Prefix="kept/")["Versions"],
            "bodies": lambda: [
                s3.get_object(Bucket=BUCKET, Key="kept/versions", **each)["Body"].read()
                for each in ({}, {"VersionId": self.version})
            ],
            "object tags": lambda: s3.get_object_tagging(Bucket=BUCKET, Key="kept/versions")["TagSet"],
            "bucket policy": lambda: s3.get_bucket_policy(Bucket=BUCKET)["Policy"],
            "role": lambda: iam.get_role(RoleName="tests")["Role"],
            "role policy": lambda: iam.get_role_policy(RoleName="tests", PolicyName="inline")["PolicyDocument"],
            "profile": lambda: iam.get_instance_profile(InstanceProfileName="profile")["InstanceProfile"],
            "stack": lambda: self.client("cloudformation").describe_stacks(StackName="stack")["Stacks"],
            "parameter": lambda: self.client("ssm").get_parameter(Name="/tests/parameter")["Parameter"],
            "secret": lambda: self.client("secretsmanager").get_secret_value(SecretId="secret")["SecretString"],
            "queue": lambda: [url.rpartition("/")[2] for url in self.client("sqs").list_queues()["QueueUrls"]],
            "key": lambda: self.client("kms").list_keys()["Keys"],
            "logs": lambda: self.client("logs").filter_log_events(logGroupName=LOGS)["events"],
            "package": lambda: sagemaker.describe_model_package(ModelPackageName=self.package),
            "models": lambda: sagemaker.list_models()["Models"],
            "configurations": lambda: sagemaker.list_endpoint_configs()["EndpointConfigs"],
            "endpoint tags": lambda: sagemaker.list_tags(ResourceArn=arn)["Tags"],
            "training job": lambda: self.training_job(self.finished),
            "training job tags": lambda: sagemaker.list_tags(
                ResourceArn=self.training_job(self.finished)["TrainingJobArn"]
            )["Tags"],
            "tuning job": lambda: self.tuning_job(self.tuned),
            "trials": lambda: self.trials(self.tuned),
            "quota": lambda: functions.get_account_settings()["AccountLimit"],
            "targets": lambda: scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"],
            "policies": lambda: scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"],
            "activities": lambda: scaling.describe_scaling_activities(ServiceNamespace="sagemaker")[
                "ScalingActivities"
            ],
            "alarms": lambda: [
                {name: each[name] for name in ("AlarmName", "Threshold", "AlarmArn")}
                for each in self.client("cloudwatch").describe_alarms()["MetricAlarms"]
            ],
            "metric": lambda: self.client("cloudwatch").get_metric_statistics(
                Namespace="tests", MetricName="metric", Period=3600, Statistics=["Sum", "Maximum"],
                StartTime=self.filled_at - 3600, EndTime=self.filled_at + 3600,
            )["Datapoints"],
            "function": lambda: functions.get_function(FunctionName=FUNCTION)["Configuration"],
            "versions": lambda: functions.list_versions_by_function(FunctionName=FUNCTION)["Versions"],
            "aliases": lambda: functions.list_aliases(FunctionName=FUNCTION)["Aliases"],
            "function tags": lambda: functions.list_tags(Resource=functions.get_function(FunctionName=FUNCTION)[
                "Configuration"]["FunctionArn"])["Tags"],
            "permission": lambda: functions.get_policy(FunctionName=FUNCTION)["Policy"],
            "reserved": lambda: functions.get_function_concurrency(FunctionName=FUNCTION)[
                "ReservedConcurrentExecutions"
            ],
            "console": lambda: self.client("ec2").get_console_output(InstanceId=self.host)["Output"],
            "security groups": lambda: self.client("ec2").describe_security_groups()["SecurityGroups"],
        }  # fmt: skip
        return {name: _plain(ask()) for name, ask in asked.items()}


def fill(daemon: Daemon) -> World:
    """Put something of everything into a local AWS, with jobs and a host that run when this returns."""
    world = World(daemon, role=make_role(daemon))
    _fill_records(world)
    _fill_function(world)
    serving = Serving(daemon, BUCKET, world.role)
    config = serving.config(serving.model(), count=1)
    world.endpoint = serving.create(config, Tags=[{"Key": "run", "Value": "1"}])
    jobs = Jobs(daemon, BUCKET, world.role, wait_for)
    world.finished = jobs.start(changes={"Tags": [{"Key": "run", "Value": "7"}]})
    world.tuned = _tune(jobs, "finished", "trial", most=2)
    hosts = Hosts(daemon)
    assert serving.wait(world.endpoint)["EndpointStatus"] == "InService"
    _scale(world)
    wait_for(lambda: world.tuning_job(world.tuned)["HyperParameterTuningJobStatus"] in ENDED, 180)
    jobs.end(world.finished)
    world.host = hosts.run_reachable(InstanceMarketOptions=SPOT)
    script = "#!/bin/sh\necho kept > $HOME/notes\npoweroff\n"
    world.stopped_host = hosts.run(UserData=script, InstanceInitiatedShutdownBehavior="stop")
    # Nothing is said on the console after this.
    wait_for(lambda: "Cloud-init finished" in hosts.console(world.host), 120)
    hosts.wait(world.stopped_host, "stopped")
    world.spot_request = hosts.describe(world.host)["SpotInstanceRequestId"]
    world.running = jobs.start("hang")
    world.tuning = _tune(jobs, "running", "hang", most=2)
    for name in (world.running, lambda: world.trials(world.tuning)[0]["TrainingJobName"]):
        wait_for(lambda name=name: "hanging" in jobs.lines(name if isinstance(name, str) else name()), 120)
    wait_for(lambda: _provisioned(world) == "READY", 120)
    world.before = world.described()
    return world


def _fill_records(world: World) -> None:
    s3, iam = world.client("s3"), world.client("iam")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    world.version = s3.put_object(Bucket=BUCKET, Key="kept/versions", Body=b"first")["VersionId"]
    s3.put_object(Bucket=BUCKET, Key="kept/versions", Body=b"second", Tagging="run=7")
    s3.put_object(Bucket=BUCKET, Key="kept/large", Body=b"large" * 4_000_000)
    s3.put_object(Bucket=BUCKET, Key="kept/empty", Body=b"")
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/*"}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    of_the_bucket = {**policy, "Statement": [{**statement, "Principal": {"AWS": world.role}}]}
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps(of_the_bucket))
    iam.put_role_policy(RoleName="tests", PolicyName="inline", PolicyDocument=json.dumps(policy))
    iam.create_instance_profile(InstanceProfileName="profile")
    iam.add_role_to_instance_profile(InstanceProfileName="profile", RoleName="tests")
    resources = {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "topic"}}}
    template = {"Resources": resources, "Outputs": {"Arn": {"Value": {"Ref": "Topic"}}}}
    world.client("cloudformation").create_stack(StackName="stack", TemplateBody=json.dumps(template))
    world.client("ssm").put_parameter(Name="/tests/parameter", Value="value", Type="String")
    world.client("secretsmanager").create_secret(Name="secret", SecretString="hush")
    world.client("sqs").create_queue(QueueName="queue")
    world.client("kms").create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")
    world.filled_at = time.time()
    for value in (1.0, 3.0):
        world.client("cloudwatch").put_metric_data(
            Namespace="tests",
            MetricData=[{"MetricName": "metric", "Value": value, "Timestamp": world.filled_at}],
        )
    logs = world.client("logs")
    logs.create_log_group(logGroupName=LOGS)
    logs.create_log_stream(logGroupName=LOGS, logStreamName="stream")
    event = {"timestamp": int(world.filled_at * 1000), "message": "a line"}
    logs.put_log_events(logGroupName=LOGS, logStreamName="stream", logEvents=[event])
    sagemaker = world.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName=GROUP)
    container = {"Image": "image", "ModelDataUrl": f"s3://{BUCKET}/model.tar.gz"}
    world.package = sagemaker.create_model_package(
        ModelPackageGroupName=GROUP,
        ModelApprovalStatus="Approved",
        CustomerMetadataProperties={"accuracy": "0.9"},
        InferenceSpecification={
            "Containers": [container],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    )["ModelPackageArn"]  # fmt: skip


def _fill_function(world: World) -> None:
    functions, buffer = world.client("lambda"), io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", SOURCE)
    functions.create_function(
        FunctionName=FUNCTION, Runtime="python3.12", Handler="app.handler", Role=world.role,
        Code={"ZipFile": buffer.getvalue()}, Tags={"run": "7"}, Environment={"Variables": {"KNOB": "3"}},
    )  # fmt: skip
    wait_for(lambda: functions.get_function_configuration(FunctionName=FUNCTION)["State"] == "Active")
    functions.publish_version(FunctionName=FUNCTION)
    functions.create_alias(FunctionName=FUNCTION, Name="live", FunctionVersion="1")
    functions.add_permission(
        FunctionName=FUNCTION, StatementId="one", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com"
    )
    tell(world.daemon.port, "quota", {"name": "Concurrent executions", "value": 900})
    functions.put_function_concurrency(FunctionName=FUNCTION, ReservedConcurrentExecutions=5)
    functions.put_provisioned_concurrency_config(
        FunctionName=FUNCTION, Qualifier="live", ProvisionedConcurrentExecutions=2
    )


def _scale(world: World) -> None:
    """A target with a policy, and one activity: the minimum is above what there is."""
    scaling, resource = world.client("application-autoscaling"), f"endpoint/{world.endpoint}/variant/v0"
    scaling.register_scalable_target(ResourceId=resource, MinCapacity=2, MaxCapacity=2, **SCALED)
    metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    scaling.put_scaling_policy(
        PolicyName="policy", ResourceId=resource, PolicyType="TargetTrackingScaling", **SCALED,
        TargetTrackingScalingPolicyConfiguration={"TargetValue": 1000.0, "PredefinedMetricSpecification": metric},
    )  # fmt: skip

    def scaled_out() -> bool:
        found = scaling.describe_scaling_activities(ServiceNamespace="sagemaker")["ScalingActivities"]
        return [each["StatusCode"] for each in found] == ["Successful"]

    wait_for(scaled_out, 120)


def _tune(jobs: Jobs, name: str, mode: str, most: int) -> str:
    ranges = {"ContinuousParameterRanges": [{"Name": "rate", "MinValue": "0.0", "MaxValue": "1.0"}]}
    jobs.sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig={
            "Strategy": "Random", "ParameterRanges": ranges,
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "score"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": most, "MaxParallelTrainingJobs": 1},
        },
        TrainingJobDefinition={**jobs.definition(), "StaticHyperParameters": jobs.script(mode=mode)},
    )  # fmt: skip
    wait_for(lambda: jobs.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name)["TrainingJobSummaries"])  # fmt: skip
    return name


def _provisioned(world: World) -> str:
    return world.client("lambda").get_provisioned_concurrency_config(FunctionName=FUNCTION, Qualifier="live")["Status"]


def _plain(answer: Any) -> Any:
    """An answer without what belongs to the call alone."""
    if isinstance(answer, dict):
        return {key: _plain(value) for key, value in answer.items() if key != "ResponseMetadata"}
    return [_plain(each) for each in answer] if isinstance(answer, list) else answer
