"""How long an AWS minute lasts here.

Metrics' periods, alarms, cool-downs and evaluation windows are counted in AWS minutes, so that an hour's behaviour can
be watched in seconds. Everything that a client measures itself (durations, latencies, billable seconds, time-outs) is
in real seconds.
"""

from __future__ import annotations

import datetime as dt
import time

AWS_MINUTE = 60.0


class Clock:
    """Converts between AWS's minutes and this machine's seconds.

    Parameters
    ----------
    minute_seconds
        How many real seconds an AWS minute lasts, 60 for AWS's own pace.
    """

    def __init__(self, minute_seconds: float = AWS_MINUTE) -> None:
        if not 0.5 <= minute_seconds <= AWS_MINUTE:
            raise ValueError(f"an AWS minute must last between 0.5 and 60 seconds, not {minute_seconds}")
        self.minute = minute_seconds

    @staticmethod
    def time() -> float:
        """Now, in Unix seconds."""
        return time.time()

    @staticmethod
    def now() -> dt.datetime:
        """Now, as the aware UTC time that answers carry."""
        return dt.datetime.now(dt.UTC)

    def real(self, aws_seconds: float) -> float:
        """Real seconds that `aws_seconds` of metric time last here, such as a period of 60 or a cool-down of 300."""
        return aws_seconds * self.minute / AWS_MINUTE

    @property
    def speed(self) -> float:
        """How many times faster than AWS's the metric clock runs."""
        return AWS_MINUTE / self.minute


def parse_duration(text: str) -> float:
    """`"5s"`, `"0.5m"` or `"5"` in seconds. Raises ValueError with a sentence."""
    units = {"s": 1.0, "m": 60.0}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1.0)
    try:
        return float(number) * unit
    except ValueError:
        raise ValueError(f"{text!r} is no duration: write it as 5s or 1m") from None
