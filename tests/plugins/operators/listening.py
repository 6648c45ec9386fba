"""Somebody who hears what a project's notifications say: a topic, and a queue that has subscribed to it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.plugins.operators.conftest import Project


class Listener:
    """Makes the topic, names it in the project's environment, and keeps what it is told until that is asked for."""

    def __init__(self, project: Project) -> None:
        sns, self.sqs = project.daemon.client("sns"), project.daemon.client("sqs")
        topic = sns.create_topic(Name=project.name)["TopicArn"]
        self.queue = self.sqs.create_queue(QueueName=project.name)["QueueUrl"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=topic.replace(":sns:", ":sqs:"))
        project.environment = project.environment.model_copy(update={"notifications_topic_arn": topic})

    def messages(self) -> list[dict[str, Any]]:
        """What has come since this was last asked: SNS's messages, with `Subject` and `Message`."""
        found = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages", ())
        for each in found:
            self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=each["ReceiptHandle"])
        return [json.loads(each["Body"]) for each in found]

    def subjects(self) -> list[str]:
        return [each["Subject"] for each in self.messages()]
