"""EventBridge rules with a queue behind them, for the tests of what sends events."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any


class Listening:
    """A rule of the default bus whose events are read from a queue."""

    def __init__(self, daemon: Any, wait_for: Callable[..., Any], pattern: dict[str, Any]) -> None:
        self.events, self.sqs = daemon.client("events"), daemon.client("sqs")
        self.name, self._wait_for = f"listening-{uuid.uuid4().hex[:8]}", wait_for
        self.queue, arn = queue(daemon, self.name)
        self.events.put_rule(Name=self.name, EventPattern=json.dumps({"source": ["aws.sagemaker"], **pattern}))
        self.events.put_targets(Rule=self.name, Targets=[{"Id": "queue", "Arn": arn}])
        self.heard: list[dict[str, Any]] = []

    def until(self, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """All events so far, once there is one and there are enough."""

        def ask() -> bool:
            self.heard += [json.loads(body) for body in received(self.sqs, self.queue)]
            return bool(self.heard) and enough(self.heard)

        self._wait_for(ask, 30, "the events did not come")
        return self.heard

    def close(self) -> None:
        self.events.remove_targets(Rule=self.name, Ids=["queue"])
        self.events.delete_rule(Name=self.name)


def queue(daemon: Any, name: str) -> tuple[str, str]:
    """A new queue's URL and ARN."""
    sqs = daemon.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def received(sqs: Any, url: str) -> list[str]:
    """The bodies of what waits in a queue, which are taken out of it."""
    found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    for each in found:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
    return [each["Body"] for each in found]
