"""When a scheduled action is due: `at(...)` and `rate(...)`.

Source: Application Auto Scaling user guide, "Schedule recurring scaling actions using cron expressions", "... using
rate expressions" and "One-time"; API reference, PutScheduledAction.
"""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo

from local_aws.clock import Clock
from local_aws.errors import validation

AT = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")
RATE = re.compile(r"rate\((\d+) (minute|hour|day)s?\)")
SECONDS = {"minute": 60, "hour": 3600, "day": 86_400}


def once(schedule: str, zone: str) -> float | None:
    """The Unix seconds of an `at(...)`; None for a `rate(...)`. Raises AwsError for anything else."""
    if found := AT.fullmatch(schedule):
        try:
            return dt.datetime.fromisoformat(found[1]).replace(tzinfo=zoneinfo.ZoneInfo(zone)).timestamp()
        except (ValueError, zoneinfo.ZoneInfoNotFoundError):
            raise validation(f"at({found[1]}) in the time zone {zone} is no moment.") from None
    if RATE.fullmatch(schedule) and not schedule.startswith("rate(0"):
        return None
    if schedule.startswith("cron("):
        raise validation("The local AWS carries out no cron(...): Schedule must be at(yyyy-mm-ddThh:mm:ss) or "
                         "rate(N minutes).")  # fmt: skip
    raise validation(f"Schedule must be at(yyyy-mm-ddThh:mm:ss), rate(N minutes) or cron(...), not {schedule!r}.")


def every(schedule: str, clock: Clock) -> float:
    """How many real seconds lie between two times of a `rate(...)`, which are counted in AWS minutes."""
    number, unit = RATE.fullmatch(schedule).groups()
    return clock.real(int(number) * SECONDS[unit])
