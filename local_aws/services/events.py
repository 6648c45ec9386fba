"""EventBridge: moto keeps rules, buses and archives; events of the services here, schedules and delivery are ours."""

from __future__ import annotations

import datetime as dt
import json
import logging
import queue
import threading
import uuid
from collections.abc import Callable
from typing import Any

from moto.events.models import EventPattern, Rule

from local_aws.errors import AwsError
from local_aws.events import inputs, patterns, rules, targets
from local_aws.services.base import Call, Service
from local_aws.state.gate import Shut

log = logging.getLogger(__name__)

NAMESPACE = "AWS/Events"
REQUIRED = ("id", "account", "source", "time", "region", "resources", "detail-type")


class EventBridge(Service):
    """The default event bus's senders, and the delivery of all buses.

    Source: EventBridge API reference and user guide. Everything is delivered once, in order, soon after it happened.
    What cannot be delivered is not tried again: here nothing fails but a target that is not there, which AWS does not
    try again either ("Retrying event delivery"); it goes to the target's dead-letter queue.
    """

    name = "events"

    def __init__(self, aws) -> None:
        super().__init__(aws)
        aws.events = self
        self._waiting: queue.SimpleQueue[tuple[str, Any] | None] = queue.SimpleQueue()
        rules.teach_moto(lambda *matched: self._waiting.put(("delivery", matched)))

    def start(self) -> None:
        threading.Thread(target=self._work, name="events", daemon=True).start()

    def stop(self) -> None:
        self._waiting.put(None)

    def send(self, detail_type: str, arn: str, detail: Callable[[], dict[str, Any]], source: str) -> None:
        """Send an event of a service to the default bus; `detail` is asked for when there is a rule at all.

        `source` is the service as EventBridge calls it, such as aws.sagemaker; `arn` what the event is about.
        """
        if any(rules.enabled(self.aws.account, self.aws.region)):
            self._waiting.put(("event", self._event(source, detail_type, arn, detail())))

    def every_minute(self, now: float) -> None:
        """Fire the scheduled rules: one of rate(5 minutes) in every fifth minute, from whenever it was made."""
        minute = round(now / self.aws.clock.minute)
        for rule in rules.enabled(self.aws.account, self.aws.region):
            every = rules.minutes(rule)
            if every and minute % every == 0:
                event = self._event("aws.events", "Scheduled Event", rule.arn, {})
                self._waiting.put(("delivery", (rule, list(rule.targets), event)))

    def test_event_pattern(self, call: Call) -> dict[str, Any]:
        """Moto knows no TestEventPattern."""
        try:
            event = json.loads(call.params["Event"])
        except ValueError:
            raise AwsError("ValidationException", "Parameter Event is not valid. Reason: it is no JSON.") from None
        missing = [name for name in REQUIRED if not isinstance(event, dict) or name not in event]
        if missing:
            raise AwsError("ValidationException", f"Parameter Event is not valid. Reason: it lacks {missing[0]}.")
        pattern = EventPattern.load(call.params["EventPattern"]).get_pattern()
        if reason := patterns.fault(pattern):
            raise AwsError("InvalidEventPatternException", f"Event pattern is not valid. Reason: {reason}")
        return {"Result": patterns.matches(pattern, event)}

    # --- inside

    def _event(self, source: str, detail_type: str, arn: str, detail: dict[str, Any]) -> dict[str, Any]:
        return {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": detail_type,
            "source": source,
            "account": self.aws.account,
            "time": _moment(self.aws.clock.now()),
            "region": self.aws.region,
            "resources": [arn],
            "detail": detail,
        }

    def _work(self) -> None:
        while (what := self._waiting.get()) is not None:
            kind, content = what
            try:
                with self.aws.saver.gate.call():
                    if kind == "delivery":
                        self._deliver(*content)
                        self.aws.saver.changed()
                        continue
                    for rule in rules.enabled(self.aws.account, self.aws.region):
                        rule.send_to_targets(content | {"ingestion-time": content["time"]})
            except Shut:
                return
            except Exception:
                log.exception("an event was lost")

    def _deliver(self, rule: Rule, to: list[dict[str, Any]], event: dict[str, Any]) -> None:
        if not isinstance(event["time"], str):  # moto's, of PutEvents
            event = event | {"time": _moment(dt.datetime.fromtimestamp(float(event["time"]), dt.UTC))}
        self._count("TriggeredRules", rule)
        named = {"arn": rule.arn, "name": rule.name}
        for target in to:
            try:
                targets.deliver(self.aws, target, inputs.text_of(target, event, named))
                self._count("Invocations", rule)
            except Exception as error:  # moto's, of whatever kind
                log.warning("the rule %s could not deliver to %s: %s", rule.name, target["Arn"], error)
                self._count("FailedInvocations", rule)
                if targets.bury(target, rule.arn, event, error):
                    self._count("InvocationsSentToDlq", rule)

    def _count(self, metric: str, rule: Rule) -> None:
        self.aws.metrics.put(NAMESPACE, metric, {"RuleName": rule.name}, 1, "Count")


def _moment(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
