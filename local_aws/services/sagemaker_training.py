"""SageMaker's training jobs."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import re
import threading
from typing import Any

from moto.backends import get_backend

from local_aws import images, quotas, usage
from local_aws.errors import AwsError, validation
from local_aws.events import sagemaker
from local_aws.iam.acting import AccessDenied, Acting
from local_aws.services.base import RESTARTED, Call, Service, page
from local_aws.services.listing import chosen
from local_aws.state.gate import Shut
from local_aws.storage import parse_s3_uri
from local_aws.tags import Tags, check_tags
from local_aws.training import container, debugger
from local_aws.training.files import CONTAINER_BASE
from local_aws.training.job import TrainingJob
from local_aws.training.record import JobRecord

log = logging.getLogger(__name__)

# AWS: API reference, StoppingCondition: "The maximum value is 28 days."
LONGEST_SECONDS = 28 * 24 * 3600
# Configurations with a place in S3 and one in the container.
LOCAL_PLACES = (
    ("CheckpointConfig", "S3Uri"), ("DebugHookConfig", "S3OutputPath"), ("TensorBoardOutputConfig", "S3OutputPath"),
)  # fmt: skip


class SageMakerTraining(Service):
    """Training jobs that really run; see training/job.py for the life of one.

    Source: SageMaker API reference, CreateTrainingJob, StopTrainingJob and DescribeTrainingJob.
    """

    name = "sagemaker"

    def __init__(self, aws) -> None:
        super().__init__(aws)
        self.jobs: dict[str, JobRecord] = {}
        self.tags = Tags()
        self._lock = threading.RLock()

    def remember(self) -> dict[str, Any]:
        with self._lock:
            return {"jobs": [job.copy() for job in self.jobs.values()], "tags": self.tags.copy()}

    def restore(self, kept: dict[str, Any], saved_at: dt.datetime) -> None:
        self.tags = Tags(kept["tags"])
        self.jobs = {job.name: job for job in kept["jobs"]}
        for job in self.jobs.values():
            if job.running:
                job.end("Failed", RESTARTED, None, saved_at)
                job.extra |= debugger.given_up(job.extra, RESTARTED)

    def create_training_job(self, call: Call) -> dict[str, Any]:
        job = self.create(call.params, call.arn(f"training-job/{call.params['TrainingJobName']}"))
        return {"TrainingJobArn": job.arn}

    def create(self, params: dict[str, Any], arn: str, **options: Any) -> TrainingJob:
        """Check a request and start the job; tuning starts its trials here, too. Raises AwsError."""
        with self._lock:
            if params["TrainingJobName"] in self.jobs:
                raise AwsError(
                    "ResourceInUse",
                    "Training job names must be unique within an AWS account and region, and a training job with "
                    f"this name already exists ({arn})",
                )
            self.check(params)
            check_tags(params.get("Tags"))
            self.check_quota(params)
            job = TrainingJob(self.aws, params, arn, on_state=self._announce, on_issue=self._act, **options)
            self.jobs[job.name] = job
        self.tags.add(arn, params.get("Tags"))
        job.start()
        return job

    def every_minute(self, now: float) -> None:
        """What the instances of each job used in the minute that has just ended."""
        middle = now - self.aws.clock.minute / 2
        for job in list(self.jobs.values()):
            for number, instance in enumerate(list(job.instances), 1):
                if instance.running:
                    host = {"Host": f"{job.name}/algo-{number}"}
                    usage.publish(self.aws, usage.TRAINING_JOBS, host, instance, middle, job.acting)

    def _announce(self, job: TrainingJob) -> None:
        self.aws.events.send(
            sagemaker.TRAINING_JOB,
            job.arn,
            lambda: sagemaker.detail(sagemaker.TRAINING_JOB, job.describe(), self.tags.of(job.arn)),
            sagemaker.SOURCE,
        )

    def _act(self, job: TrainingJob, rule: str, found: str, action: dict[str, str]) -> None:
        """A built-in action of Debugger: stop a training, or tell somebody, as AWS's own code does.

        AWS: developer guide, "Use Debugger built-in actions for rules"; awslabs/sagemaker-debugger, rules/action.
        """
        if action["name"] == "stoptraining":
            prefix = action.get("training_job_prefix") or job.name
            matching = [
                each
                for each in list(self.jobs.values())
                if each.running and each.secondary != "Uploading" and each.name.startswith(prefix)
            ]
            if len(matching) == 1:
                matching[0].stop()
            else:
                log.warning("rule %s: %s active jobs begin with %s, so none is stopped", rule, len(matching), prefix)
            return
        kind, to = action["name"], action.get("endpoint") or ""
        with contextlib.suppress(Shut), self.aws.saver.gate.call():
            sns = get_backend("sns")[self.aws.account][self.aws.region]
            topic = sns.create_topic("SMDebugRules").arn
            sns.subscribe(topic, to, kind)
            sns.publish(f"SMDebugRule:{rule} fired. {found}", topic, subject=f"SMDebugRule:{rule} fired"[:100])
            self.aws.saver.changed()

    def check(self, params: dict[str, Any]) -> None:
        """What CreateTrainingJob refuses besides what the API's model says. Raises AwsError."""
        specification = params["AlgorithmSpecification"]
        image = specification.get("TrainingImage")
        if image is None:
            raise validation("The local AWS runs jobs with a TrainingImage; an AlgorithmName is not supported.")
        aws = self.aws
        refusal = images.refusal(image, "training", account=aws.account, region=aws.region, role=params["RoleArn"])
        if refusal:
            raise validation(refusal)
        if specification["TrainingInputMode"] != "File":
            raise validation(f"The local AWS supports the input mode File, not {specification['TrainingInputMode']}.")
        if refusal := container.refusal(specification):
            raise validation(refusal)
        resources = params["ResourceConfig"]
        if not resources.get("InstanceType") or not resources.get("InstanceCount"):
            raise validation("The local AWS needs ResourceConfig.InstanceType and InstanceCount.")
        self._check_role(params["RoleArn"])
        if not images.may_pull(image, self._acting(params["RoleArn"])):
            raise validation(images.not_pulled(image, params["RoleArn"]))
        self._check_places(params)
        self._check_limits(params)
        self._check_metrics(specification.get("MetricDefinitions") or [])
        debugger.check(params)

    def check_quota(self, params: dict[str, Any], jobs: int = 1) -> None:
        """Whether the account may have the instances of so many such jobs at once. Raises AwsError."""
        spot = bool(params.get("EnableManagedSpotTraining"))
        wanted = params["ResourceConfig"]
        with self._lock:
            used = sum(
                each.request["ResourceConfig"]["InstanceCount"]
                for each in self.jobs.values()
                if each.running
                and each.managed_spot is spot
                and each.request["ResourceConfig"]["InstanceType"] == wanted["InstanceType"]
            )
            name = quotas.sagemaker_name(wanted["InstanceType"], quotas.SPOT_TRAINING if spot else quotas.TRAINING)
            self.aws.quotas.check(name, used, jobs * wanted["InstanceCount"])

    def _acting(self, role: str) -> Acting:
        return self.aws.iam.acting(role, "sagemaker.amazonaws.com", "SageMaker")

    def _check_role(self, arn: str) -> None:
        if self.aws.iam.identities.role(arn) is None or not self._acting(arn).trusted():
            raise validation(
                f"Could not assume role {arn}. Please ensure that the role exists and allows principal "
                "'sagemaker.amazonaws.com' to assume the role."
            )

    def _check_places(self, params: dict[str, Any]) -> None:
        places = [("OutputDataConfig.S3OutputPath", params["OutputDataConfig"]["S3OutputPath"])]
        for config, member in LOCAL_PLACES:
            if params.get(config):
                places.append((f"{config}.{member}", params[config][member]))
                local = params[config].get("LocalPath") or CONTAINER_BASE
                if local != CONTAINER_BASE and not local.startswith(CONTAINER_BASE + "/"):
                    raise validation(f"{config}.LocalPath must be below {CONTAINER_BASE} here, not {local!r}.")
        if (params.get("ProfilerConfig") or {}).get("S3OutputPath"):
            places.append(("ProfilerConfig.S3OutputPath", params["ProfilerConfig"]["S3OutputPath"]))
        channels = self._channels(params)
        for what, uri in (*places, *((f"channel {name}", uri) for name, uri in channels.items())):
            try:
                bucket, _ = parse_s3_uri(uri)
            except ValueError as error:
                raise validation(f"{what}: {error}") from error
            if not self.aws.s3.bucket_exists(bucket):
                raise validation(f"{what}: the bucket {bucket!r} of {uri} does not exist or is in another region.")
        for uri in channels.values():
            self._check_not_empty(uri, params["RoleArn"])

    @staticmethod
    def _channels(params: dict[str, Any]) -> dict[str, str]:
        """The S3 URI of each channel."""
        found: dict[str, str] = {}
        for channel in params.get("InputDataConfig") or ():
            name = channel["ChannelName"]
            if name in found:
                raise validation(f"Channel names must be unique, but {name!r} is there twice.")
            source = channel["DataSource"].get("S3DataSource")
            if source is None or source["S3DataType"] != "S3Prefix" or channel.get("InputMode", "File") != "File":
                raise validation(
                    f"The local AWS reads channels as files from S3 prefixes; channel {name!r} needs "
                    "DataSource.S3DataSource with S3DataType S3Prefix, and InputMode File."
                )
            found[name] = source["S3Uri"]
        return found

    def _check_not_empty(self, uri: str, role: str) -> None:
        bucket, prefix = parse_s3_uri(uri)
        try:
            listed = list(self.aws.s3.under(self._acting(role)).list(bucket, prefix))
        except AccessDenied:
            listed = []
        if all(each.key.endswith("/") for each in listed):
            raise validation(
                f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket '
                f"exists in the selected region ({self.aws.region}), that objects exist under that S3 prefix, and "
                f'that the role "{role}" has "s3:ListBucket" permissions on bucket "{bucket}".'
            )

    @staticmethod
    def _check_limits(params: dict[str, Any]) -> None:
        stopping = params["StoppingCondition"]
        longest, patience = stopping.get("MaxRuntimeInSeconds") or 86_400, stopping.get("MaxWaitTimeInSeconds")
        for member in ("MaxRuntimeInSeconds", "MaxWaitTimeInSeconds"):
            if (stopping.get(member) or 0) > LONGEST_SECONDS:
                raise validation(
                    f"StoppingCondition.{member} must be at most {LONGEST_SECONDS} (28 days), not {stopping[member]}."
                )
        if params.get("EnableManagedSpotTraining"):
            if patience is None or patience < longest:
                raise validation(
                    f"Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to "
                    f"MaxRuntimeInSeconds ({longest}) for a managed Spot job; it is {patience}."
                )
        elif patience is not None:
            raise validation("MaxWaitTimeInSeconds is for managed Spot jobs: set EnableManagedSpotTraining.")

    @staticmethod
    def _check_metrics(definitions: list[dict[str, Any]]) -> None:
        if len(definitions) > 40:
            raise validation(f"MetricDefinitions may have at most 40 entries, not {len(definitions)}.")
        for each in definitions:
            try:
                re.compile(each["Regex"])
            except re.error as error:
                raise validation(
                    f"The Regex {each['Regex']!r} of metric {each['Name']!r} is not a regular expression: {error}."
                ) from None

    def describe_training_job(self, call: Call) -> dict[str, Any]:
        return self._job(call).describe()

    def list_training_jobs(self, call: Call) -> dict[str, Any]:
        with self._lock:
            jobs = list(self.jobs.values())
        jobs = chosen(
            jobs,
            call.params,
            name=lambda job: job.name,
            created=lambda job: job.created,
            modified=lambda job: job.modified,
            status=lambda job: job.status,
        )
        return page([summary(job) for job in jobs], call, key="TrainingJobSummaries")

    def stop_training_job(self, call: Call) -> None:
        job = self._job(call)
        if not job.running:
            raise validation("The request was rejected because the training job is in status " + job.status + ".")
        job.stop()

    def delete_training_job(self, call: Call) -> None:
        job = self._job(call)
        if job.running:
            raise AwsError("ResourceInUse", f"The training job {job.name} is {job.status}: stop it first.")
        with self._lock:
            del self.jobs[job.name]
        self.tags.forget(job.arn)

    def interrupt(self, name: str) -> str | None:
        """A managed Spot job's instances get two AWS minutes' notice; the job goes on when there is capacity again."""
        job = self.jobs.get(name)
        return job.interrupt() if job else None

    def stop(self) -> None:
        for job in list(self.jobs.values()):
            for instance in job.instances:
                instance.kill()

    def _job(self, call: Call) -> JobRecord:
        job = self.jobs.get(call.params["TrainingJobName"])
        if job is None:
            raise validation("Requested resource not found.")
        return job


def summary(job: JobRecord) -> dict[str, Any]:
    """One TrainingJobSummary."""
    found = {
        "TrainingJobName": job.name,
        "TrainingJobArn": job.arn,
        "CreationTime": job.created,
        "LastModifiedTime": job.modified,
        "TrainingJobStatus": job.status,
        "SecondaryStatus": job.secondary,
    }
    return found | ({"TrainingEndTime": job.ended} if job.ended else {})
