import pytest
from musher.load import plan

CAPACITY = {"max_rps_per_instance": 40.0}


def built(**changes):
    options = {"provisioned": 2, "reserved": 5, "capacity": CAPACITY, "safety_factor": 0.5}
    return {phase.name: phase for phase in plan.build(**options | changes)}


def test_the_phases_in_the_order_they_run():
    assert list(built()) == ["within_provisioned", "within_reserved", "beyond_reserved", "scale_out", "quiet"]


def test_bursts_are_as_large_as_what_they_are_about():
    phases = built()

    assert [phase.size for phase in phases.values()] == [2, 5, 15, 0, 0]


def test_a_burst_is_over_before_the_next_one_begins():
    # 20 calls on an instance that takes 4 a second need five seconds
    phases = built(reserved=20, capacity={"max_rps_per_instance": 4})

    assert phases["within_reserved"].interval_seconds > 5
    assert phases["beyond_reserved"].interval_seconds > 5
    assert phases["within_provisioned"].interval_seconds < 5


def test_only_bursts_that_start_environments_wait_for_them():
    assert built()["within_provisioned"].settle_seconds == 0
    assert built()["within_reserved"].settle_seconds > 0
    assert built(reserved=2)["within_reserved"].settle_seconds == 0


@pytest.mark.parametrize("safety_factor", [0.3, 0.5, 0.8])
def test_scale_out_offers_more_than_the_target_and_less_than_an_instance_takes(safety_factor):
    rate = built(safety_factor=safety_factor)["scale_out"].rps

    assert rate > 40 * safety_factor
    assert rate <= 40 * 0.9


def test_a_load_that_cannot_trigger_scaling_is_refused():
    with pytest.raises(plan.PlanError, match=r"0\.4 .* has to be above the safety factor, which is 0\.5"):
        built(scale_out_load=0.4)
    with pytest.raises(plan.PlanError, match=r"safety factor, which is 0\.95"):
        built(safety_factor=0.95)


def test_an_endpoint_that_does_not_scale_has_no_scaling_phases():
    assert list(built(scales=False)) == ["within_provisioned", "within_reserved", "beyond_reserved"]


def test_what_cannot_be_planned_says_why():
    with pytest.raises(plan.PlanError, match=r"provisioned concurrency is 9; .* 5"):
        built(provisioned=9)
    with pytest.raises(plan.PlanError, match="capacity of one instance is not known"):
        built(capacity={})


def test_without_a_reserve_environments_start_first_and_calls_at_once_are_left_out():
    assert list(built(concurrency=False)) == ["warm_up", "scale_out", "quiet"]
    phases = built(concurrency=False, scales=False)
    assert list(phases) == ["warm_up", "steady"]
    assert phases["steady"].promised(phases["steady"].seconds) >= 100  # fewer have no 99th percentile
