"""What a run will cost, against sums worked out by hand.

Per hour: ml.m5.xlarge 0.23 USD, ml.m5.large 0.115, m5.xlarge 0.192 and as Spot 0.0585.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException
from musher import record
from musher.config import ComparisonConfig, DeploymentConfig, TrainingConfig
from musher.costs import projection
from musher.errors import ConfigError, CostError
from musher.operators.costs import CheckProjectedCostOperator

pytestmark = pytest.mark.usefixtures("fixed_prices")

TRIAL = {"job": "t", "hyperparameters": {}, "objective": None, "status": "Completed"}
JOB = {"job": "j", "instance_type": "ml.m5.xlarge", "wall_seconds": None, "cost_usd": 0.0}
JOB |= {"test_accuracy": None, "test_loss": None}
TUNING = record.Tuning(
    job="t",
    strategy="Random",
    instance_type="ml.m5.xlarge",
    trials=[{**TRIAL, "seconds": seconds} for seconds in (100, 200, None)],
    best=None,
)


def trained(*jobs):
    return record.Training(jobs=[{**JOB, **job} for job in jobs])


def scaling(*points):
    return record.Autoscaling(target_metric="invocations", target_value=600, min=1, max=2, timeline=points)


TRAINED = record.RunRecord(
    run="earlier",
    tuning=TUNING,
    training=trained({"instances": 1, "billable_seconds": 400}, {"instances": 2, "billable_seconds": 500}),
)
TESTED = record.RunRecord(
    run="earlier",
    autoscaling=scaling({"seconds": 0, "in_service": 1}, {"seconds": 900, "in_service": 2}, {"seconds": 1800}),
)


def test_without_an_earlier_run_every_job_is_expected_at_its_longest():
    found = projection.training(TrainingConfig(paths="both", max_jobs=4, instance_count=2, max_runtime_seconds=3600))

    # 4 trials + 1 + 2 instances, and the evaluation of the model in service: 8 hours at 0.23.
    assert found.jobs == 7
    assert found.worst_case_usd == pytest.approx(1.84)
    assert found.projected_usd == found.worst_case_usd
    assert "no earlier run" in found.basis


def test_an_earlier_run_tells_what_to_expect():
    found = projection.training(TrainingConfig(paths="both", max_jobs=6, instance_count=4), TRAINED)

    # 6 trials of 150 s, 400 s on one, 500 s x 4/2 on four: 2,300 s at 0.23 an hour.
    assert found.instance_seconds == 2300
    assert found.projected_usd == pytest.approx(0.146944, abs=1e-6)
    assert found.worst_case_usd == pytest.approx(0.23 * 12)
    assert found.basis == "the seconds of the run earlier"


@pytest.mark.parametrize(("paths", "jobs", "seconds"), [("one", 7, 1300), ("several", 10, 1900), ("both", 11, 2300)])
def test_only_the_paths_that_are_taken_are_projected(paths, jobs, seconds):
    # 6 trials of 150 s; then 400 s on one, or 1,000 s on four together, or both.
    found = projection.training(TrainingConfig(paths=paths, max_jobs=6, instance_count=4), TRAINED)
    assert (found.jobs, found.instance_seconds) == (jobs, seconds)


def test_managed_spot_is_projected_as_if_it_saved_nothing():
    spot = {"billable_seconds": 120, "training_seconds": 400, "managed_spot": True}
    training = trained({"instances": 1, **spot}, {"instances": 2, **spot, "training_seconds": 250})
    found = projection.training(
        TrainingConfig(paths="both", max_jobs=6, instance_count=4), TRAINED.replace(training=training)
    )
    assert found.instance_seconds == 2300


def test_a_deployment_is_the_load_test_and_what_stands_afterwards():
    config = DeploymentConfig(
        min_instances=1, max_instances=3, bursts=5, burst_interval_seconds=2,
        scale_out_limit_seconds=1200, scale_in_limit_seconds=2370, function_memory_mb=1024, provisioned_concurrency=2,
    )  # fmt: skip
    found = projection.deployment(config)

    # 3 x 5 x 2 + 1200 + 2370 = 3,600 s: 3 x 0.115 + 2 GB x 3600 x 0.0000041667 = 0.345 + 0.03000024.
    assert found.seconds == 3600
    # A release: two new instances, and one added to the old one, bake for 900 + 300 s: 3 x 0.115 / 3.
    assert found.projected_usd == pytest.approx(0.37500024 + 0.115, abs=1e-8)
    # And 2,370 s of settling, 3,600 + 900 for endpoint and function: 10,470 s.
    assert found.worst_case_usd == pytest.approx(0.37500024 * 10_470 / 3600 + 0.115, abs=1e-7)
    # A month: 730 x (0.115 + 0.03000024), and five alarms, of which two are auto-scaling's.
    assert found.afterwards_per_month_usd == pytest.approx(105.850175 + 5 * 0.1, abs=1e-5)

    again = projection.deployment(config, TESTED)
    # 1,800 s with 2 instances: 0.115 + 0.01500012.
    assert again.projected_usd == pytest.approx(0.13000012 + 0.115, abs=1e-8)
    assert again.worst_case_usd == found.worst_case_usd


def planned(extent="full", stack="rehearsal", **more):
    return record.Rehearsal(stack=stack, extent=extent, why="", **more)


def test_a_rehearsal_costs_what_is_measured_in_it():
    config = DeploymentConfig(
        min_instances=1, max_instances=3, bursts=5, burst_interval_seconds=2,
        scale_out_limit_seconds=1200, scale_in_limit_seconds=2370, function_memory_mb=1024, provisioned_concurrency=2,
    )  # fmt: skip
    full, release = projection.deployment(config), 0.115

    # What is tried out where it serves is not released: that is the second fleet's bake.
    first = projection.deployment(config, None, planned(stack="production"))
    assert first.projected_usd == pytest.approx(full.projected_usd - release)
    # 100 calls at half a call a second, on one instance with two environments: 200 s.
    short = projection.deployment(config, TESTED, planned("short"))
    assert short.seconds == 200
    assert short.projected_usd == pytest.approx((0.115 + 0.03000024) * 200 / 3600 + release, abs=1e-8)
    # At worst with its waits and three instances: 4,700 s.
    assert short.worst_case_usd == pytest.approx(0.37500024 * 4700 / 3600 + release, abs=1e-7)
    # Without calls at once there are no bursts, and no environments that are kept ready.
    without = projection.deployment(config, None, planned(concurrency=False))
    assert without.projected_usd == pytest.approx(3 * 0.115 * 3570 / 3600 + release, abs=1e-8)
    nothing = projection.deployment(config, TESTED, planned("none"))
    assert (nothing.projected_usd, nothing.worst_case_usd) == (pytest.approx(release), pytest.approx(release))
    assert {each.afterwards_per_month_usd for each in (full, first, short, without, nothing)} == {
        full.afterwards_per_month_usd
    }


def test_an_endpoint_that_does_not_scale_is_tested_in_bursts_only():
    found = projection.deployment(DeploymentConfig(min_instances=1, max_instances=1, bursts=10))
    assert found.seconds == 60


def test_a_training_on_ec2():
    # Spot 0.0585 for half an hour; at worst two hours on demand. 73 GB of volume: 0.008 an hour.
    found = projection.ec2_training("m5.xlarge", "spot", 1800, 7200)
    assert found.projected_usd == pytest.approx(0.02925)
    assert found.worst_case_usd == pytest.approx(0.384)
    assert projection.ec2_training("m5.xlarge", "spot", None, 7200).projected_usd == pytest.approx(0.117)
    with_volume = projection.ec2_training("m5.xlarge", "on-demand", 1800, 7200, volume_gb=73)
    assert with_volume.projected_usd == pytest.approx(0.1)
    assert with_volume.worst_case_usd == pytest.approx(0.4)


def test_a_type_without_a_price_is_found_before_anything_is_launched():
    with pytest.raises(ConfigError, match=r"ml\.m4\.xlarge has no price in .*prices\.json"):
        projection.training(TrainingConfig(training_instance_type="ml.m4.xlarge"))


def test_too_dear_is_one_sentence_with_both_figures():
    projected = record.Projection(projected_usd=12.345, worst_case_usd=99.0, basis="the seconds of the run x")
    projection.check(projected, 12.35, "this training")
    with pytest.raises(CostError, match=r"max_cost_usd is 0\.002, and .* cost 0\.0125 USD"):
        projection.check(projected.replace(projected_usd=0.0125), 0.002, "this training")
    with pytest.raises(CostError) as caught:
        projection.check(projected, 12.0, "this training")
    assert str(caught.value) == (
        "max_cost_usd is 12.00, and this training is projected to cost 12.35 USD "
        "(at worst 99.00; the seconds of the run x): nothing was launched."
    )


def write(s3, env, run, config, *parts):
    for part in (record.ProjectedCosts(training=projection.training(config)), *parts):
        record.write(s3, env.bucket, run, part)


def test_the_newest_run_that_is_alike_and_was_measured_is_found(s3, env):
    config = TrainingConfig(dataset_name="dogs", paths="both")
    measured = [TUNING, TRAINED.training]
    assert projection.earlier_run(s3, env.bucket, config) is None

    write(s3, env, "a-alike", config, *measured)
    write(s3, env, "b-more-epochs", TrainingConfig(dataset_name="dogs", epochs=99), *measured)
    write(s3, env, "c-one-job", config, TUNING, trained({"instances": 1, "billable_seconds": 1}))
    write(s3, env, "d-no-training", config, TUNING)
    record.write(s3, env.bucket, "e-before-projections", TRAINED.training)
    for part in ("tuning", "projected_costs"):
        write(s3, env, f"g-{part}-is-damaged", config, *measured)
        s3.put_object(Bucket=env.bucket, Key=f"runs/g-{part}-is-damaged/{part}.json", Body=b"{")

    found = projection.earlier_run(s3, env.bucket, config)
    assert found.run == "a-alike"
    assert projection.training(config, found).basis == "the seconds of the run a-alike"


def test_a_run_has_to_have_trained_on_the_paths_that_are_taken_to_go_by_it(s3, env):
    one, several = TrainingConfig(), TrainingConfig(paths="several")
    write(s3, env, "both", TrainingConfig(paths="both"), TUNING, TRAINED.training)
    write(s3, env, "one", one, TUNING, trained({"instances": 1, "billable_seconds": 100}))

    assert projection.earlier_run(s3, env.bucket, one).run == "one"
    assert projection.earlier_run(s3, env.bucket, several).run == "both"


def test_a_deployment_before_this_one_is_found(s3, env):
    config = DeploymentConfig()
    record.write(s3, env.bucket, "r", record.ProjectedCosts(deployment=projection.deployment(config)))
    record.write(s3, env.bucket, "r", scaling())
    assert projection.earlier_run(s3, env.bucket, config) is None

    record.write(s3, env.bucket, "r", TESTED.autoscaling)
    assert projection.earlier_run(s3, env.bucket, config).run == "r"


def checked(what, params, s3, env):
    operator = CheckProjectedCostOperator(task_id="check_projected_cost", what=what)
    operator.__dict__["environment"] = env
    operator.client = lambda service, **config: s3
    run = SimpleNamespace(dag_id="dag", run_id="run")
    return operator.execute({"params": params, "dag_run": run})


@pytest.mark.parametrize("what", ["training", "deployment"])
def test_the_task_writes_its_projection_and_stops_a_run_that_is_too_dear(s3, env, what):
    projected = checked(what, {}, s3, env)

    listed = s3.list_objects_v2(Bucket=env.bucket, Prefix="runs/")["Contents"]
    run = listed[0]["Key"].split("/")[1]
    written = record.read(s3, env.bucket, run, record.ProjectedCosts)
    assert written.given == {what: record.Projection.from_json(projected)}
    assert projected["max_cost_usd"] == 25.0

    with pytest.raises(AirflowFailException, match=rf"max_cost_usd is 0\.01, and this {what} is projected to cost"):
        checked(what, {"max_cost_usd": 0.01}, s3, env)
    # The record says what was projected, although nothing was launched.
    assert record.read(s3, env.bucket, run, record.ProjectedCosts).given[what].max_cost_usd == 0.01


def test_a_comparison_is_two_instances_while_they_start_and_are_put_under_load():
    config = ComparisonConfig(rounds=8, step_seconds=5, pictures=200)
    found = projection.comparison(config)

    # 600 s to start, 2 x 88 rates of 5 s and 200 pictures: two instances for 1,680 s at 0.115.
    assert found.seconds == 1080
    assert found.projected_usd == pytest.approx(2 * 1680 / 3600 * 0.115)
    # An hour to start, half an hour to be removed, twice the load.
    assert found.worst_case_usd == pytest.approx(2 * (5400 + 2160) / 3600 * 0.115)
