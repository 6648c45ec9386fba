"""When a composite alarm does not take its actions, because another alarm, its suppressor, is in ALARM.

Source: CloudWatch user guide, "Suppressing composite alarm actions". A change of the composite alarm first waits for
the suppressor to follow (ActionsSuppressorWaitPeriod); when the suppressor has left ALARM, it waits again
(ActionsSuppressorExtensionPeriod). Afterwards the actions of the state are taken that the alarm is in then, unless they
are those that were taken last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from local_aws.errors import validation

SUPPRESSOR, WAIT, EXTENSION = "ActionsSuppressor", "ActionsSuppressorWaitPeriod", "ActionsSuppressorExtensionPeriod"
SETTINGS = (SUPPRESSOR, WAIT, EXTENSION)


def check(params: Mapping[str, Any], known: Callable[[str], bool]) -> None:
    """Raise AwsError for a suppressor without its periods, periods without one, and one that does not exist."""
    given = [name for name in SETTINGS if params.get(name) is not None]
    if not given:
        return
    missing = [name for name in SETTINGS if name not in given]
    if missing:
        raise validation(f"{', '.join(given)} without {', '.join(missing)}: give all three of them, or none.")
    if not known(named(params[SUPPRESSOR])):
        raise validation(
            f"Could not save the composite alarm as its ActionsSuppressor {params[SUPPRESSOR]} does not exist"
        )
    for name in (WAIT, EXTENSION):
        if params[name] < 0:
            raise validation(f"{name} must be 0 seconds or more, not {params[name]}.")


def named(suppressor: str) -> str:
    """The name of the alarm that an ActionsSuppressor is, which may be an ARN."""
    return suppressor.partition(":alarm:")[2] if suppressor.startswith("arn:") else suppressor


@dataclass
class Suppression:
    """Which actions a composite alarm has taken, and what it waits for."""

    told: str = "INSUFFICIENT_DATA"
    """The state of which the actions were taken last."""
    seen: str = "INSUFFICIENT_DATA"
    """The alarm's state when this was asked last."""
    suppressor: str = ""
    """The suppressor's state then."""
    until: float = 0.0
    """Until when (Unix seconds) is waited."""
    by: str = ""
    """What suppresses, as ActionsSuppressedBy says it."""

    def due(self, state: str, settings: Mapping[str, Any], suppressor: str, now: float, real: Callable[[float], float]
            ) -> str | None:  # fmt: skip
        """The state of which the actions were taken before, when those of `state` are to be taken now; else None.

        Parameters: `suppressor` is that alarm's state, "" without one; `real` makes AWS's seconds this machine's.
        """
        if settings.get(SUPPRESSOR):
            if suppressor == "ALARM":
                self.by, self.until = "Alarm", 0.0
            elif self.suppressor == "ALARM":
                self.by, self.until = "ExtensionPeriod", now + real(settings[EXTENSION])
            elif state != self.seen and self.by != "ExtensionPeriod":
                self.by, self.until = "WaitPeriod", now + real(settings[WAIT])
            if self.by != "Alarm" and self.until <= now:
                self.by = ""
        else:
            self.by = ""
        self.suppressor, self.seen = suppressor, state
        if self.by or state == self.told:
            return None
        before, self.told = self.told, state
        return before

    def describe(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """What DescribeAlarms says while actions are suppressed."""
        if not self.by:
            return {}
        name = settings[SUPPRESSOR]
        reason = {
            "Alarm": f"Actions suppressed by {name}, which is in ALARM",
            "WaitPeriod": f"Waiting {settings[WAIT]} seconds for {name} to go into ALARM",
            "ExtensionPeriod": f"Waiting {settings[EXTENSION]} seconds after {name} has left ALARM",
        }[self.by]
        return {"ActionsSuppressedBy": self.by, "ActionsSuppressedReason": reason}
