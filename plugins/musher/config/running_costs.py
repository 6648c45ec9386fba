"""What a person may choose for the daily report of running costs."""

from __future__ import annotations

from musher.config.fields import Configuration, option


class RunningCostsConfig(Configuration):
    """What a person may choose for `report_running_costs`."""

    unused_days: int = option(
        7,
        "Unused",
        "Unused after (days)",
        "An endpoint or provisioned concurrency that nobody has called for this long counts as unused, as does an "
        "EC2 instance that is older.",
        ge=1,
        le=400,
    )
    remove_unused: bool = option(
        False,
        "Unused",
        "Remove what is unused",
        "Delete unused endpoints and provisioned concurrency, and terminate EC2 instances that count as unused. Off: "
        "they are only listed.",
    )
