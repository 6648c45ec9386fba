"""Takes the demo's Spot instance back once, as AWS may at any time, so that everyone sees the training go on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import requests

from tools.stack import Stack

SECONDS = 10


class Interruption:
    """Interrupts a run's instance as soon as the training on it has left a checkpoint on S3; once.

    Called with a run's task instances, like `Progress`.
    """

    def __init__(self, stack: Stack, bucket: str, run_id: str, say: Callable[[str], None]) -> None:
        self.stack, self.bucket, self.run_id, self.say = stack, bucket, run_id, say
        self.done = False
        self._ec2, self._s3 = stack.client("ec2"), stack.client("s3")

    def __call__(self, tasks: list[dict[str, Any]]) -> None:
        if self.done or not any(task["task_id"] == "train" and task["state"] == "deferred" for task in tasks):
            return
        for instance in self._running():
            name = next(tag["Value"] for tag in instance["Tags"] if tag["Key"] == "Name")
            if self._s3.list_objects_v2(Bucket=self.bucket, Prefix=f"checkpoints/{name}/", MaxKeys=1)["KeyCount"]:
                self._interrupt(instance["InstanceId"])

    def _running(self) -> list[dict[str, Any]]:
        filters = [
            {"Name": "tag:run", "Values": [self.run_id]},
            {"Name": "instance-state-name", "Values": ["running"]},
        ]
        found = self._ec2.describe_instances(Filters=filters)["Reservations"]
        return [instance for reservation in found for instance in reservation["Instances"]]

    def _interrupt(self, instance: str) -> None:
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(
                f"{self.stack.aws_url}/_local_aws/interrupt", json={"name": instance}, timeout=SECONDS
            )
        answer.raise_for_status()
        self.done = True
        self.say(f"            taking the Spot instance {instance} back, as AWS may")
