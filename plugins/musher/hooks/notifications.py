"""What a person should know without looking: published to the SNS topic that the Variable names."""

from __future__ import annotations

import logging
from typing import Any

from airflow.providers.amazon.aws.hooks.sns import SnsHook
from botocore.config import Config

from musher.config import AWS_CONN_ID, Environment

# SNS API reference, Publish: a subject has fewer than 100 characters of ASCII, and no line breaks.
LONGEST_SUBJECT = 99
# Nobody waits long for a topic that does not answer.
PATIENCE = {"connect_timeout": 5, "read_timeout": 10, "retries": {"total_max_attempts": 2, "mode": "standard"}}


def notify(
    env: Environment, subject: str, message: str, *, aws_conn_id: str | None = AWS_CONN_ID, log: Any = None
) -> str:
    """Publish a message, where there is a topic; empty, or a sentence on why it was not published.

    Whoever calls this does something more important: nothing that is wrong with the topic is raised.
    """
    topic, log = env.notifications_topic_arn, log or logging.getLogger(__name__)
    if not topic:
        return ""
    line = " ".join(f"{env.project}: {subject}".split()).encode("ascii", "replace").decode()[:LONGEST_SUBJECT]
    try:
        hook = SnsHook(aws_conn_id=aws_conn_id, region_name=topic.split(":")[3], config=Config(**PATIENCE))
        hook.publish_to_target(topic, message, line)
    except Exception as error:
        problem = f"The topic {topic} was not told {line!r}: {error}"
        log.warning("%s", problem)
        return problem
    log.info("Told %s: %s", topic, line)
    return ""
