"""moto's rules, which it keeps, with what it lacks: refusals, states and who delivers. Stacks make the same rules."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any

from moto.backends import get_backend
from moto.events.exceptions import InvalidEventPatternException, ValidationException
from moto.events.models import EventPattern, EventsBackend, Rule

from local_aws.events import patterns
from local_aws.events.targets import kept_by_moto, refusal

Deliver = Callable[[Rule, list[dict[str, Any]], dict[str, Any]], None]
"""Called with a rule, the targets of it that are not moto's, and an event that it matches."""

_put_rule, _put_targets, _send = EventsBackend.put_rule, EventsBackend.put_targets, Rule.send_to_targets


def teach_moto(deliver: Deliver) -> None:
    """Have moto refuse rules that nobody would carry out, and hand over what is to be delivered."""
    EventsBackend.put_rule = _checked_rule
    EventsBackend.put_targets = _checked_targets
    Rule.send_to_targets = functools.partialmethod(send, deliver)


def enabled(account: str, region: str) -> Iterator[Rule]:
    """The rules of the default event bus that are not disabled."""
    bus = get_backend("events")[account][region].event_buses["default"]
    return (rule for rule in list(bus.rules.values()) if rule.state != "DISABLED")


def send(rule: Rule, deliver: Deliver, event: dict[str, Any], transform_input: bool = True) -> None:
    """Have an event delivered to a rule's targets if the rule is one for it."""
    pattern = rule.event_pattern.get_pattern()
    if rule.state == "DISABLED" or not pattern or not patterns.matches(pattern, event):
        return
    own = [each for each in rule.targets if kept_by_moto(each)]
    if own:
        one = copy.copy(rule)
        one.targets = own
        _send(one, event, transform_input)
    deliver(rule, [each for each in rule.targets if not kept_by_moto(each)], event)


def minutes(rule: Rule) -> int | None:
    """How often a scheduled rule fires, in AWS minutes; None for one without a schedule."""
    if not rule.scheduled_expression:
        return None
    number, unit = rule.scheduled_expression.removeprefix("rate(").removesuffix(")").split()
    return int(number) * {"minute": 1, "hour": 60, "day": 24 * 60}[unit.removesuffix("s")]


@functools.wraps(_put_rule)
def _checked_rule(self: EventsBackend, name: str, **settings: Any) -> Rule:
    schedule = settings.get("scheduled_expression")
    if schedule and not schedule.startswith("rate("):
        raise ValidationException(
            f"ScheduleExpression: the local AWS carries out rate(...), in its own minutes, and not {schedule}."
        )
    if reason := patterns.fault(EventPattern.load(settings.get("event_pattern")).get_pattern()):
        raise InvalidEventPatternException(reason)
    return _put_rule(self, name, **settings)


@functools.wraps(_put_targets)
def _checked_targets(
    self: EventsBackend, name: str, event_bus_arn: str | None, targets: list[dict[str, Any]]
) -> None:  # fmt: skip
    for target in targets:
        if reason := refusal(target):
            raise ValidationException(reason)
    _put_targets(self, name, event_bus_arn, targets)
