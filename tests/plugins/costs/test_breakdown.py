"""What a run cost, against sums worked out by hand from the table: ml.m5.xlarge 0.23 USD/h, ml.m5.large 0.115,
m5.xlarge 0.192 on demand and 0.0585 as Spot, S3 0.023 per GB and month."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from musher.costs import breakdown, prices
from musher.errors import ConfigError
from musher.record import Ec2Instance, RunRecord

pytestmark = pytest.mark.usefixtures("fixed_prices")


def job(instances=1, billable=3600, **more):
    given = {"job": "a-job", "instances": instances, "instance_type": "ml.m5.xlarge", "billable_seconds": billable}
    given |= {"wall_seconds": None, "test_accuracy": 0.9, "test_loss": None}
    return {**given, "cost_usd": billable * 0.23 / 3600, **more}


def on_ec2(*instances, **more):
    instances = [Ec2Instance(instance_id="i-1", launched_at="", **each) for each in instances]
    part = {"run": "r", "instance_type": "m5.xlarge", "market": instances[0].market, "instances": instances}
    part |= {"interruptions": 0, "seconds": sum(each.seconds for each in instances), "seconds_lost": 0}
    part |= {"test_accuracy": 0.91, "test_loss": None}
    return {**part, "cost_usd": prices.ec2_training_cost(instances, "m5.xlarge"), **more}


def tuned(*trials, instance_type="ml.m5.xlarge"):
    trial = {"job": "t", "hyperparameters": {}, "objective": None, "status": "Completed"}
    trials = [{**trial, **each} for each in trials]
    return {"job": "t", "strategy": "Random", "instance_type": instance_type, "trials": trials, "best": None}


def costs_of(parts, stored=None):
    return breakdown.of_run(RunRecord(run="r", **parts), stored)


def by_path(parts):
    return {line.path: line for line in costs_of(parts).per_path}


def test_the_paths_that_were_not_run_say_from_what_they_are_worked_out():
    lines = by_path({"training": {"jobs": [job(), job(2, 4000)]}})

    assert list(lines) == [
        "SageMaker, one instance",
        "SageMaker, 2 instances",
        "SageMaker, managed Spot, one instance",
        "EC2 on demand",
        "EC2 Spot",
    ]
    # An hour on one: 0.23. 4,000 s on two together: 0.23 x 4000 / 3600 = 0.25556.
    assert lines["SageMaker, one instance"].usd == pytest.approx(0.23)
    assert lines["SageMaker, 2 instances"].usd == pytest.approx(0.255556, abs=1e-6)
    # EC2's Spot price is 0.0585 / 0.192 = 30.47 % of its on-demand price: 0.23 x 0.3047 = 0.07008.
    assert lines["SageMaker, managed Spot, one instance"].usd == pytest.approx(0.070078, abs=1e-6)
    assert lines["EC2 on demand"].usd == pytest.approx(0.192)
    assert lines["EC2 Spot"].usd == pytest.approx(0.0585)
    measured = {path for path, line in lines.items() if line.basis == "measured"}
    assert measured == {"SageMaker, one instance", "SageMaker, 2 instances"}
    for path in lines.keys() - measured:
        assert lines[path].accuracy is None
        assert "seconds" in lines[path].basis


def test_of_one_path_alone_the_others_are_worked_out():
    # An hour on one; several would cost more than the same hour, since they wait for each other.
    lines = by_path({"training": {"jobs": [job()], "instance_count": 4}})
    assert lines["SageMaker, 4 instances"].usd == pytest.approx(0.23)
    assert lines["SageMaker, 4 instances"].accuracy is None
    assert "shared by 4 without loss: it costs more" in lines["SageMaker, 4 instances"].basis
    assert costs_of({"training": {"jobs": [job()], "instance_count": 4}}).run_usd == pytest.approx(0.23)

    # 4,000 s of two together; one would cost less than that, and EC2 at most 4,000 s at 0.192 an hour.
    several = {"training": {"jobs": [job(2, 4000, training_seconds=2000)], "instance_count": 2}}
    lines = by_path(several)
    assert lines["SageMaker, 2 instances"].basis == "measured"
    assert lines["SageMaker, one instance"].usd == pytest.approx(0.255556, abs=1e-6)
    assert lines["SageMaker, one instance"].instances == 1
    assert "2 instances together: it costs less" in lines["SageMaker, one instance"].basis
    assert lines["EC2 on demand"].usd == pytest.approx(0.213333, abs=1e-6)
    assert "2 SageMaker instances together" in lines["EC2 on demand"].basis
    assert "the seconds of 2 instances together" in lines["SageMaker, managed Spot, one instance"].basis
    assert costs_of(several).run_usd == pytest.approx(0.255556, abs=1e-6)


def test_a_job_on_managed_spot_is_measured_and_the_on_demand_one_worked_out():
    # 3,600 s of training of which 1,080 were billed: 0.069. On demand the whole hour: 0.23.
    spot = job(billable=1080, managed_spot=True, training_seconds=3600, spot_savings=0.7)
    lines = by_path({"training": {"jobs": [spot]}})

    assert lines["SageMaker, managed Spot, one instance"].usd == pytest.approx(0.069)
    assert lines["SageMaker, managed Spot, one instance"].basis == "measured"
    assert lines["SageMaker, one instance"].usd == pytest.approx(0.23)
    assert "managed Spot" in lines["SageMaker, one instance"].basis
    assert lines["EC2 on demand"].usd == pytest.approx(0.192)


def test_both_ways_on_sagemaker_side_by_side():
    lines = by_path({"training": {"jobs": [job(billable=1080, managed_spot=True), job(2)]}})
    assert lines["SageMaker, 2 instances"].basis == "measured"

    lines = by_path({"training": {"jobs": [job(2, managed_spot=True), job(managed_spot=True, billable=1080)]}})
    assert lines["SageMaker, managed Spot, 2 instances"].basis == "measured"


def test_what_ran_on_ec2_is_measured_with_what_was_lost_to_an_interruption():
    lost = {"market": "spot", "seconds": 1200, "ended_by": "interruption"}
    rest = {"market": "spot", "seconds": 3600, "ended_by": "Client.UserInitiatedShutdown"}
    parts = {"training": {"jobs": [job()]}, "ec2_training": on_ec2(lost, rest, seconds_lost=1200)}
    lines = by_path(parts)

    # The first is free, the second an hour of Spot. On demand nothing is lost: 3,600 s at 0.192.
    assert lines["EC2 Spot"].usd == pytest.approx(0.0585)
    assert lines["EC2 Spot"].basis == "measured"
    assert lines["EC2 Spot"].accuracy == 0.91
    assert lines["EC2 Spot"].instances == 2
    assert lines["EC2 Spot"].seconds == 4800
    assert lines["EC2 on demand"].usd == pytest.approx(0.192)
    assert "less those lost" in lines["EC2 on demand"].basis
    assert costs_of(parts).run_usd == pytest.approx(0.23 + 0.0585)


def test_the_disk_of_an_instance_is_part_of_either_market():
    # Two hours of Spot and 0.016 for a disk of 73 GB. On demand the same disk: 2 x 0.192 + 0.016.
    instance = {"market": "spot", "seconds": 7200, "ended_by": None}
    lines = by_path({"ec2_training": on_ec2(instance, cost_usd=2 * 0.0585 + 0.016)})
    assert lines["EC2 on demand"].usd == pytest.approx(0.4)


def test_ec2_on_demand_and_a_mixture():
    hour = {"market": "on-demand", "seconds": 3600, "ended_by": None}
    lines = by_path({"ec2_training": on_ec2(hour)})
    assert list(lines) == ["EC2 on demand", "EC2 Spot"]
    assert lines["EC2 on demand"].basis == "measured"
    assert lines["EC2 Spot"].usd == pytest.approx(0.0585)

    mixed = by_path({"ec2_training": on_ec2(hour, hour | {"market": "spot"})})
    assert mixed["EC2 Spot and on demand"].usd == pytest.approx(0.192 + 0.0585)


def test_a_path_without_a_price_keeps_its_line_without_a_figure():
    lines = by_path({"training": {"jobs": [job(instance_type="ml.c5.xlarge")]}})

    # prices.json has EC2's price of c5.xlarge, 0.17, but no Spot price.
    assert lines["EC2 on demand"].usd == pytest.approx(0.17)
    assert lines["EC2 Spot"].usd is None
    assert lines["EC2 Spot"].basis == "prices.json has no price for it: c5.xlarge"


def test_tuning_is_a_line_of_its_own():
    tuning = tuned({"seconds": 1800}, {"seconds": None}, {"seconds": 1800})
    found = costs_of({"tuning": tuning, "training": {"jobs": [job()]}})

    assert found.tuning.usd == pytest.approx(0.23)
    assert found.tuning.path == "tuning, 3 trials"
    assert found.run_usd == pytest.approx(0.46)
    with pytest.raises(ConfigError, match=r"prices\.json"):
        costs_of({"tuning": tuned(instance_type="ml.p5.48xlarge")})


def test_trials_on_managed_spot_cost_what_they_are_billed_for():
    # 900 of 3,600 seconds are billed: a quarter of an hour at the price of an hour on demand.
    found = costs_of({"tuning": tuned({"seconds": 3600, "billable_seconds": 900})})
    on_demand = costs_of({"tuning": tuned({"seconds": 3600})})
    assert found.tuning.seconds == 900
    assert found.tuning.usd == pytest.approx(on_demand.tuning.usd / 4)


SERVED = {
    "endpoint": {
        "name": "e",
        "config": "c",
        "instance_type": "ml.m5.large",
        "capacity": {"max_rps_per_instance": 40.0, "p50_ms": 90.0, "p99_ms": None},
    },
    "function": {
        "function": "f",
        "version": "1",
        "alias": "live",
        "memory_mb": 256,
        "provisioned": 2,
        "reserved": 5,
    },
    "load_test": {
        "phases": [
            {"name": "within_provisioned", "p50_ms": 100.0, "succeeded": 600, "offered_rps": 2.0},
            {"name": "scale_out", "p50_ms": 120.0, "succeeded": 400, "offered_rps": 26.0},
        ]
    },
    "autoscaling": {
        "target_metric": "invocations",
        "target_value": 600.0,
        "min": 1,
        "max": 2,
        "timeline": [
            {"seconds": 0, "in_service": 1},
            {"seconds": 1800, "in_service": 2},
            {"seconds": 3600, "in_service": 1},
        ],
    },
}


def test_an_endpoint_costs_by_the_hour_and_more_under_load():
    found = costs_of(SERVED)

    assert found.endpoint.per_hour_usd == pytest.approx(0.115)
    assert found.endpoint.per_month_usd == pytest.approx(83.95)
    load = found.endpoint.under_load
    assert (load.calls_per_second, load.instances) == (26.0, 2)
    assert load.per_month_usd == pytest.approx(167.9)


def test_the_load_test_is_paid_for_by_instance_and_call():
    found = costs_of(SERVED).load_test

    # One instance for half an hour, two for the next: 5,400 s, 0.115 x 1.5 = 0.1725. 1,000 calls of 100 ms and 256 MB:
    # 0.0006166675. Two environments of 256 MB for an hour: 0.00750006. Together 0.1806167.
    assert found.instance_seconds == 5400
    assert found.calls == 1000
    assert found.usd == pytest.approx(0.18061673, abs=1e-8)


def test_the_function_with_and_without_provisioned_concurrency_and_where_they_meet():
    found = costs_of(SERVED)
    function = found.function

    # Auto-scaling keeps 600 a minute, 10 a second, on each instance; see test_costs for the sums.
    assert function.calls_per_second == 10
    assert function.per_1000_usd == pytest.approx(0.0006166675, abs=1e-10)
    assert function.per_1000_provisioned_usd == pytest.approx(0.00065139, abs=1e-9)
    assert function.break_even_calls_per_second == pytest.approx(12.0, abs=1e-3)
    assert function.break_even == (
        "Above 12 calls a second of 100 ms, 2 provisioned environments of 256 MB cost less than none "
        "(they answer 20 a second at most)."
    )
    # The endpoint's part at 10 a second: 0.115 / 36,000 x 1,000 = 0.0031944.
    assert found.per_1000_predictions_usd == pytest.approx(0.0038458, abs=1e-7)


def test_without_a_break_even_it_says_so(monkeypatch):
    monkeypatch.setattr(prices, "provisioned_break_even", lambda duration, provisioned: None)
    function = costs_of(SERVED).function
    assert function.break_even_calls_per_second is None
    assert "never cost less than none" in function.break_even


def test_an_endpoint_that_does_not_scale_is_reckoned_at_half_its_capacity():
    found = costs_of(SERVED | {"autoscaling": None})
    assert found.function.calls_per_second == 20
    assert found.endpoint.under_load is None
    assert found.load_test is None


def test_storage_is_reckoned_where_its_size_is_known():
    assert costs_of({}).storage == {}
    found = costs_of({}, {"dataset": 2 * 2**30, "models": 2**29}).storage
    assert found["dataset"].usd_per_month == pytest.approx(0.046)
    assert found["models"].usd_per_month == pytest.approx(0.0115)


def test_what_was_projected_stands_beside_what_was_billed():
    projected = {
        what: {"projected_usd": usd, "worst_case_usd": 2.0, "basis": "a guess"}
        for what, usd in (("training", 1.0), ("deployment", 0.5))
    }
    tuning = tuned({"seconds": 3600})
    parts = {"projected_costs": projected, "tuning": tuning, "training": {"jobs": [job()]}}
    found = {each.what: each for each in costs_of(parts).projected}

    assert found["training"].projected_usd == 1.0
    assert found["training"].actual_usd == pytest.approx(0.46)
    assert found["deployment"].actual_usd is None


def test_nothing_was_run():
    found = costs_of({})
    assert found.per_path == []
    assert found.tuning is None
    assert found.run_usd == 0
    assert found.price_table_date
    assert found.endpoint is None


def test_what_a_release_kept_running_is_part_of_the_run():
    release = json.loads((Path(__file__).parents[1] / "record/record.json").read_text())["release"]
    del release["record_version"]
    trained = {"training": {"jobs": [job()], "instance_count": 4}}
    assert costs_of({**trained, "release": release | {"cost_usd": 0.07}}).run_usd == pytest.approx(0.30)
    assert costs_of({**trained, "release": release}).run_usd == pytest.approx(0.23)


def test_a_job_that_a_rule_has_ended_is_billed_too():
    ended = {"job": "a-job", "step": "train-one", "status": "Failed", "cost_usd": 0.05, "fired": "AllZero"}
    completed = {**ended, "job": "a-job-2", "status": "Completed", "fired": None, "cost_usd": 0.23}
    trial = {**ended, "job": "trial", "step": "tune"}
    parts = {"training": {"jobs": [job(job="a-job-2")]}, "diagnostics": {"jobs": [ended, completed, trial]}}

    assert costs_of(parts).run_usd == pytest.approx(0.23 + 0.05)
    assert costs_of({"diagnostics": parts["diagnostics"]}).run_usd == pytest.approx(0.23 + 0.05)
