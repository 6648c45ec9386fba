"""The last hour of the endpoint, from CloudWatch's points."""

from __future__ import annotations

import datetime as dt
import types

from musher.page import serving


def test_an_hour_has_every_call_however_short_the_minutes_of_the_aws_are():
    # GIVEN points a second apart, as the local AWS has them where its minutes last as long, over two of ours
    now = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
    at = [now - dt.timedelta(seconds=number) for number in range(1, 121)]
    told = {"calls": 1.0, "client": 0.0, "server": 0.5, "p99": 2000.0}
    results = [{"Id": name, "Timestamps": at, "Values": [value] * len(at)} for name, value in told.items()]
    results[-1]["Values"][0] = 5000.0
    pages = types.SimpleNamespace(paginate=lambda **asked: [{"MetricDataResults": results}])
    cloudwatch = types.SimpleNamespace(get_paginator=lambda name: pages)
    aws = types.SimpleNamespace(environment=types.SimpleNamespace(project="p"), client=lambda service: cloudwatch)
    # WHEN they are read THEN minutes have their sums, and their slowest
    found = serving.traffic(aws)
    assert sum(found.calls) == 120
    assert max(found.calls) == 60
    assert found.error_share == 0.5
    assert found.last_p99 == (int(now.timestamp()) - 60, 5.0)
