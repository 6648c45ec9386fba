"""SageMaker's training jobs."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import threading
from typing import Any

from moto.backends import get_backend

from local_aws import images, quotas, usage
from local_aws.errors import AwsError, validation
from local_aws.events import sagemaker
from local_aws.iam.acting import Acting
from local_aws.services.base import RESTARTED, Call, Service, page
from local_aws.services.listing import chosen
from local_aws.state.gate import Shut
from local_aws.tags import Tags, check_tags
from local_aws.training import container, debugger
from local_aws.training.job import TrainingJob
from local_aws.training.record import JobRecord
from local_aws.training.requests import check_limits, check_metrics, check_places

log = logging.getLogger(__name__)


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
        check_places(aws, params, self._acting(params["RoleArn"]))
        check_limits(params)
        check_metrics(specification.get("MetricDefinitions") or [])
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
