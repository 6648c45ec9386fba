"""What EC2's instances cost: a price on demand by type, and of that a share for Spot capacity.

On AWS a Spot price changes by the hour and differs between zones. Here it is the same all the time, so that nothing is
made up that looks like a market.
"""

from __future__ import annotations

import datetime as dt

from local_aws.training.spot import PRICE_SHARE

ON_DEMAND = {
    "t3.medium": 0.0416, "m5.large": 0.096, "m5.xlarge": 0.192, "m5.2xlarge": 0.384, "c5.large": 0.085,
    "c5.xlarge": 0.17, "t2.2xlarge": 0.3712, "g4dn.xlarge": 0.526, "g5.xlarge": 1.006,
}  # fmt: skip
"""USD an hour of Linux in us-east-1 (EC2 pricing, "On-Demand Pricing", as public tables had it in 2026)."""
PRODUCT = "Linux/UNIX"
SINCE = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
"""From when on the prices are in force."""


def spot(instance_type: str) -> str:
    """USD an hour, as DescribeSpotPriceHistory writes it. Raises KeyError for a type without a price."""
    return f"{ON_DEMAND[instance_type] * PRICE_SHARE:.6f}"
