"""What a DeploymentConfig becomes: the steps, or a refusal."""

from __future__ import annotations

import pytest

from local_aws.endpoints.deployment import check_names, plan, wanted
from local_aws.endpoints.record import VariantRecord
from local_aws.errors import AwsError


def per_cent(value: int) -> dict:
    return {"Type": "CAPACITY_PERCENT", "Value": value}


def instances(value: int) -> dict:
    return {"Type": "INSTANCE_COUNT", "Value": value}


def blue_green(kind: str = "ALL_AT_ONCE", wait: int = 60, last: int | None = None, **more) -> dict:
    routing = {"Type": kind, "WaitIntervalInSeconds": wait} | {
        name: more.pop(name) for name in ("CanarySize", "LinearStepSize") if name in more
    }
    policy = {"TrafficRoutingConfiguration": routing} | ({} if last is None else {"TerminationWaitInSeconds": last})
    return {"BlueGreenUpdatePolicy": policy | more}


def rolling(size: dict, wait: int = 60, **more) -> dict:
    return {"RollingUpdatePolicy": {"MaximumBatchSize": size, "WaitIntervalInSeconds": wait} | more}


def steps(config, new, old=None) -> list[tuple]:
    """(share in per cent, new ones of `a`, old ones of `a`, wait, what it is named after) of each step."""
    made = plan(config, {"a": new}, {"a": new if old is None else old})
    return [(round(100 * each.share), each.new["a"], each.old["a"], each.wait, each.name[:4]) for each in made.steps]


def test_without_a_policy_all_moves_at_once_and_nothing_is_waited_for():
    for config in (None, {}, {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "x"}]}}):
        assert steps(config, 3) == [(100, 3, 0, 0, "Term")]
    assert plan({"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "x"}]}}, {"a": 1}, {"a": 1}).alarms == ("x",)


def test_all_at_once_bakes_for_the_termination_wait_alone():
    assert steps(blue_green(wait=60, last=120), 3) == [(100, 3, 0, 120, "Term")]


def test_a_canary_bakes_once_in_part_and_once_in_full():
    # The old fleet stays whole meanwhile.
    config = blue_green("CANARY", 60, 120, CanarySize=instances(1))
    assert steps(config, 4) == [(25, 1, 4, 60, "Wait"), (100, 4, 0, 120, "Term")]
    config = blue_green("CANARY", 60, CanarySize=per_cent(10))
    assert steps(config, 1) == [(10, 1, 1, 60, "Wait"), (100, 1, 0, 0, "Term")]
    assert steps(config, 15, old=2) == [(10, 2, 2, 60, "Wait"), (100, 15, 0, 0, "Term")]


def test_linear_steps_take_the_same_part_of_the_old_fleet_away():
    config = blue_green("LINEAR", 60, 120, LinearStepSize=per_cent(25))
    assert steps(config, 4) == [
        (25, 1, 3, 60, "Wait"), (50, 2, 2, 60, "Wait"), (75, 3, 1, 60, "Wait"), (100, 4, 0, 120, "Term")
    ]  # fmt: skip
    config = blue_green("LINEAR", 60, LinearStepSize=instances(1))
    assert steps(config, 3, old=6) == [(33, 1, 4, 60, "Wait"), (67, 2, 2, 60, "Wait"), (100, 3, 0, 0, "Term")]
    # One instance is all there is at every step; while the old one has calls left, it is there.
    assert steps(blue_green("LINEAR", 60, LinearStepSize=per_cent(50)), 1) == [
        (50, 1, 1, 60, "Wait"), (100, 1, 0, 0, "Term")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "shares"),
    [(10, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]), (33, [33, 66, 100]), (30, [30, 60, 90, 100]), (50, [50, 100])],
)
def test_no_linear_step_is_larger_than_asked_for(value, shares):
    assert [each[0] for each in steps(blue_green("LINEAR", LinearStepSize=per_cent(value)), 10)] == shares


def test_several_variants_have_their_own_parts():
    config = blue_green("CANARY", CanarySize=instances(1))
    made = plan(config, {"a": 2, "b": 4}, {"a": 2, "b": 4})
    assert made.steps[0].new == {"a": 1, "b": 1}
    assert made.steps[0].share == pytest.approx(2 / 6)
    config = blue_green("LINEAR", LinearStepSize=per_cent(50))
    made = plan(config, {"a": 2, "b": 4}, {"a": 3, "b": 1})
    assert [each.new for each in made.steps] == [{"a": 1, "b": 2}, {"a": 2, "b": 4}]
    assert [each.old for each in made.steps] == [{"a": 2, "b": 1}, {"a": 0, "b": 0}]


def test_rolling_batches():
    assert steps(rolling(instances(2)), 4) == [(50, 2, 2, 60, "Wait"), (100, 4, 0, 60, "Wait")]
    # At most so many: a half of five are two.
    assert steps(rolling(per_cent(50)), 5) == [
        (40, 2, 3, 60, "Wait"), (80, 4, 1, 60, "Wait"), (100, 5, 0, 60, "Wait")
    ]  # fmt: skip
    assert steps(rolling(per_cent(25)), 4, old=1) == [
        (25, 1, 1, 60, "Wait"), (50, 2, 1, 60, "Wait"), (75, 3, 1, 60, "Wait"), (100, 4, 0, 60, "Wait")
    ]  # fmt: skip
    made = plan(rolling(instances(2)), {"a": 4}, {"a": 6})
    assert (made.rolling, made.way_back) == (True, 6)
    assert plan(rolling(instances(2), RollbackMaximumBatchSize=per_cent(50)), {"a": 4}, {"a": 6}).way_back == 3


TEN = [{"AlarmName": f"a{number}"} for number in range(10)]


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (blue_green() | rolling(instances(1)), "has both BlueGreenUpdatePolicy and RollingUpdatePolicy"),
        (blue_green("CANARY", CanarySize=per_cent(51)), "a CanarySize of 51 %, which must be at most 50 %"),
        (blue_green("CANARY", CanarySize=instances(3)), "a CanarySize of 3 instance(s), which must be at most 50 % of"),
        (blue_green("LINEAR", LinearStepSize=per_cent(9)), "a LinearStepSize of 9 %, which must be 10 to 50 %"),
        (blue_green("LINEAR", LinearStepSize=per_cent(51)), "a LinearStepSize of 51 %, which must be 10 to 50 %"),
        (blue_green("LINEAR", LinearStepSize=instances(3)), "of the 4 instance(s) of variant a"),
        (rolling(per_cent(4)), "a MaximumBatchSize of 4 %, which must be 5 to 50 %"),
        (rolling(instances(3)), "a MaximumBatchSize of 3 instance(s), which must be 5 to 50 %"),
        (blue_green("CANARY"), "needs a CanarySize for the traffic routing type CANARY"),
        (blue_green("LINEAR"), "needs a LinearStepSize for the traffic routing type LINEAR"),
        (blue_green(CanarySize=per_cent(5)), "has a CanarySize, which is not for the traffic routing type ALL_AT_ONCE"),
        (
            blue_green("LINEAR", 200, 200, LinearStepSize=per_cent(50), MaximumExecutionTimeoutInSeconds=400),
            "of 400, which must be greater than the sum of its waits, 400 seconds",
        ),
        (rolling(instances(1), 150, MaximumExecutionTimeoutInSeconds=600), "the sum of its waits, 600 seconds"),
        ({"AutoRollbackConfiguration": {"Alarms": [*TEN, {"AlarmName": "a"}]}}, "names 11 alarms"),
        ({"AutoRollbackConfiguration": {"Alarms": [{}]}}, "an alarm without AlarmName"),
    ],
)
def test_what_aws_refuses_is_refused_in_a_sentence(config, why):
    with pytest.raises(AwsError) as refused:
        plan(config, {"a": 4}, {"a": 4})
    assert why in refused.value.message
    assert refused.value.message.startswith("DeploymentConfig ")


def test_a_time_out_above_the_waits_and_ten_alarms_are_fine():
    config = blue_green("LINEAR", 200, 200, LinearStepSize=per_cent(50), MaximumExecutionTimeoutInSeconds=401)
    made = plan(config | {"AutoRollbackConfiguration": {"Alarms": TEN}}, {"a": 4}, {"a": 4})
    assert (made.timeout, len(made.alarms)) == (401, 10)


def test_rolling_is_for_one_variant_and_names_are_kept():
    with pytest.raises(AwsError, match="for endpoints of one production variant, not of 2"):
        plan(rolling(instances(1)), {"a": 4, "b": 4}, {"a": 4})
    check_names(["a", "b"], ["b", "a"])
    with pytest.raises(AwsError, match="the same variant names as before, a, b, not a, c"):
        check_names(["a", "c"], ["a", "b"])


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        ((), ((2, 1.0), (1, 0.5))),
        (("DesiredInstanceCount", "DesiredWeight"), ((5, 3.0), (1, 0.5))),
        (("DesiredWeight",), ((2, 3.0), (1, 0.5))),
        (("DesiredInstanceCount",), ((5, 1.0), (1, 0.5))),
    ],
)
def test_variants_retain_what_they_are_told_to(keep, expected):
    config = {
        "ProductionVariants": [
            {"VariantName": "a", "InitialInstanceCount": 2},
            {"VariantName": "b", "InitialInstanceCount": 1, "InitialVariantWeight": 0.5},
        ]
    }
    found = wanted(config, [VariantRecord("a", 5, 3.0, 3.0)], keep)
    assert tuple((each.desired, each.weight) for each in found) == expected
