"""The project taken out of an account. Nothing is removed before everything that may stand in the way was looked at.

What DAG runs have made (endpoint, function, jobs, instances) is in no stack. While any of it runs, nothing is removed:
the DAG that removes it would be gone, and it would go on costing.
"""

from __future__ import annotations

import datetime as dt
import logging
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from tools import infrastructure
from tools.cloudformation import InfrastructureError, Stack, Waiting, said
from tools.deployment.account import Account
from tools.deployment.deploy import ENVIRONMENT, ENVIRONMENT_POLL_SECONDS, variable_name
from tools.deployment.environment import Environment, log_groups
from tools.deployment.settings import Settings
from tools.package import ROOT

if TYPE_CHECKING:
    from musher.costs.running import Running

# How each thing is ended by hand, where there is no Airflow any more that would.
BY_HAND = {
    "endpoint": "aws sagemaker delete-endpoint --endpoint-name {name}",
    "function": "aws lambda delete-function --function-name {name}",
    "provisioned concurrency": "aws lambda delete-function --function-name {name}",
    "training job": "aws sagemaker stop-training-job --training-job-name {name}",
    "tuning job": "aws sagemaker stop-hyper-parameter-tuning-job --hyper-parameter-tuning-job-name {name}",
    "EC2 instance": "aws ec2 terminate-instances --instance-ids {name}",
    "CloudWatch alarms": 'aws cloudwatch delete-alarms --alarm-names $(aws cloudwatch describe-alarms --query "'
    "MetricAlarms[?starts_with(AlarmName, '{name}-serving-') || starts_with(AlarmName, '{name}-release-') || "
    "starts_with(AlarmName, 'TargetTracking-endpoint/{name}/variant/AllTraffic-')].AlarmName"
    '" --output text)',
}


class Removal:
    """One run of `make destroy`.

    Parameters: `confirmed` gets the bucket's name and says whether all that is in it may be deleted.
    """

    def __init__(
        self,
        account: Account,
        settings: Settings,
        confirmed: Callable[[str], bool],
        poll_seconds: float = ENVIRONMENT_POLL_SECONDS,
    ) -> None:
        self.account, self.settings, self.confirmed = account, settings, confirmed
        self.say = account.say
        quick, slow = Waiting(say=self.say), Waiting(poll_seconds, settings.wait_minutes, self.say)
        self.network = Stack(account.client, settings.network_stack, quick)
        self.project = Stack(account.client, settings.project, quick)
        self.mwaa = Stack(account.client, settings.mwaa_stack, slow)
        self.environment = Environment(account.client("mwaa"), settings.project, slow)

    def run(self) -> None:
        """Remove all of it, if nothing stands in the way. Raises InfrastructureError, ClientError or BotoCoreError."""
        settings = self.settings
        bucket = self._begin()
        if bucket and not self.confirmed(bucket):
            raise InfrastructureError(
                f"Nothing was removed: the bucket {bucket} has data sets, models and records in it, which go with it. "
                f"To delete them, type its name when asked, or say CONFIRM={bucket}."
            )
        self._remove_environment()
        # Until its environment was gone, a DAG may have started something.
        self._refuse_while_running("Only the environment was removed")
        if infrastructure.delete(
            self.account.client, settings.project, empty_bucket=bool(bucket), waiting=self.project.waiting
        ):
            self.say(f"The stack {settings.project}: deleted{f', with all that was in {bucket}' if bucket else ''}")
        if self.network.delete():
            self.say(f"The stack {settings.network_stack}: deleted")
        self._say_what_is_left()

    def preview(self) -> None:
        """Say what `run` would remove. Raises what it would raise before it has removed anything."""
        bucket = self._begin()
        for stack in (self.mwaa, self.project, self.network):
            if now := stack.described():
                made = len(stack.resources())
                self.say(f"The stack {stack.name}: is {now['StackStatus']}, would be deleted with its {made} resources")
        if bucket:
            self.say(f"The bucket {bucket}: would be emptied, all versions of everything, once its name is confirmed")
        if self._secret_is_there():
            self.say(f"The secret {variable_name(self.settings.project)}: would be deleted")
        for group in self._log_groups():
            self.say(f"The log group {group}: would be deleted")

    def _begin(self) -> str:
        """Refuse other credentials, and while anything runs; the bucket that would have to be emptied, if there is."""
        settings = self.settings
        who = self.account.check(settings.account)
        self.say(f"{settings.name}: project {settings.project} in {settings.account}, {settings.region}, as {who}")
        self._refuse_while_running("Nothing was removed")
        there = self.project.described() is not None
        bucket = self.project.resources().get("Bucket") if there else None
        return "" if not bucket or infrastructure.is_empty(self.account.client, bucket) else bucket

    def _refuse_while_running(self, so_far: str) -> None:
        found = list(running(self.account, self.settings))
        if not found:
            return
        lines = []
        for each in found:
            name = each.name.partition(":")[0]
            lines.append(f"  {each.what} {each.name} ({each.detail}): {BY_HAND[each.what].format(name=name)}")
        raise InfrastructureError(
            f"{so_far}: this project still has\n"
            + "\n".join(lines)
            + "\nRun the DAG remove_deployment and let jobs end, or mark their tasks failed; without Airflow, the "
            f"commands above do it (AWS_REGION={self.settings.region})."
        )

    def _remove_environment(self) -> None:
        there = self.mwaa.described()
        if there:
            self.mwaa.settle()
            if self.mwaa.resources().get(ENVIRONMENT):
                self.environment.settle()
        if self.mwaa.delete():
            self.say(f"The stack {self.settings.mwaa_stack}: deleted")
        # One that the stack did not make. It holds names and ARNs, nothing to be recovered.
        if self._secret_is_there():
            secret = variable_name(self.settings.project)
            self.account.client("secretsmanager").delete_secret(SecretId=secret, ForceDeleteWithoutRecovery=True)
            self.say(f"The secret {secret}: deleted")
        for group in self._log_groups():
            self.account.client("logs").delete_log_group(logGroupName=group)
            self.say(f"The log group {group}: deleted")

    def _secret_is_there(self) -> bool:
        secrets, name = self.account.client("secretsmanager"), variable_name(self.settings.project)
        return _is_there(lambda: secrets.describe_secret(SecretId=name))

    def _log_groups(self) -> Iterator[str]:
        """The environment's log groups that are there."""
        logs = self.account.client("logs")
        for group in log_groups(self.settings.project):
            found = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
            if group in [each["logGroupName"] for each in found]:
                yield group

    def _say_what_is_left(self) -> None:
        """List what else carries the project's tag; what has just been removed may still be among it."""
        client = self.account.client("resourcegroupstaggingapi")
        filters = [{"Key": "project", "Values": [self.settings.project]}]
        try:
            pages = client.get_paginator("get_resources").paginate(TagFilters=filters)
            left = [each["ResourceARN"] for page in pages for each in page["ResourceTagMappingList"]]
        except ClientError as error:
            self.say(f"What else has the tag project={self.settings.project} cannot be listed: {said(error)}")
            return
        if left:
            self.say(f"Still known to AWS by the tag project={self.settings.project} (its index lags behind):")
            for arn in left:
                self.say(f"  {arn}")


def running(account: Account, settings: Settings) -> Iterator[Running]:
    """What of the project costs by the hour, outside the stacks: what report_running_costs lists, less the storage."""
    sys.path.insert(0, str(ROOT / "plugins"))  # as Airflow does
    from musher.costs.running import RunningCosts

    logging.getLogger("botocore").setLevel(logging.WARNING)  # which Airflow, just imported, turns up

    now = dt.datetime.now(dt.UTC)
    costs = RunningCosts(account.client, project=settings.project, bucket=settings.bucket, unused_days=7, now=now)
    return costs.running()


def ask(bucket: str, given: str = "", read: Callable[[str], str] | None = None) -> bool:
    """Whether the bucket's name was given, or is typed by the person at the terminal; without one, nobody is asked."""
    if given:
        return given == bucket
    if read is None:
        if not sys.stdin.isatty():
            return False
        read = input
    return (
        read(f"Everything in {bucket} will be deleted, all versions of it. Type its name to go on: ").strip() == bucket
    )


def _is_there(look: Callable[[], object]) -> bool:
    try:
        look()
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return False
        raise
    return True
