"""Tuning jobs whose trials really run, with scripts that need no torch."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest
from botocore.exceptions import ClientError

from tests.local_aws.event_rules import Listening
from tests.local_aws.training_scripts import ENDED, Jobs

GOOD_OR_BAD = {"CategoricalParameterRanges": [{"Name": "choice", "Values": ["good", "bad"]}]}
X = {"ContinuousParameterRanges": [{"Name": "rate", "MinValue": "0.0", "MaxValue": "1.0", "ScalingType": "Linear"}]}


class Tuning(Jobs):
    """Starts tuning jobs and looks at them."""

    numbers = itertools.count(1)

    def tuning_request(self, strategy, ranges, *, mode="trial", most=None, parallel=2, **config):
        limits = {"MaxParallelTrainingJobs": min(parallel, most or parallel)}
        limits |= {"MaxNumberOfTrainingJobs": most} if most else {}
        return {
            "HyperParameterTuningJobName": f"tune-{strategy.lower()}-{next(self.numbers)}",
            "HyperParameterTuningJobConfig": {
                "Strategy": strategy,
                "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "score"},
                "ResourceLimits": limits,
                "ParameterRanges": ranges,
                **config,
            },
            "TrainingJobDefinition": {**self.definition(), "StaticHyperParameters": self.script(mode=mode)},
        }

    def tune(self, *arguments, **options):
        request = self.tuning_request(*arguments, **options)
        self.sagemaker.create_hyper_parameter_tuning_job(**request)
        return request["HyperParameterTuningJobName"]

    def describe_tuning(self, name):
        return self.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)

    def tuned(self, name):
        self.wait_for(lambda: self.describe_tuning(name)["HyperParameterTuningJobStatus"] in ENDED, 120)
        return self.describe_tuning(name)

    def trials(self, name, **options):
        return self.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
            HyperParameterTuningJobName=name, **options
        )["TrainingJobSummaries"]


@pytest.fixture(scope="module")
def tuning(local_aws, bucket, role_arn, wait_for):
    return Tuning(local_aws, bucket, role_arn, wait_for)


def value(trial):
    return trial["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]


def test_bayesian_search_runs_its_trials_and_names_the_best(tuning, local_aws, wait_for):
    states = Listening(local_aws, wait_for, {"detail": {"HyperParameterTuningJobName": [{"exists": True}]}})
    # WHEN four trials are run, two at a time
    # as the tuners of SageMaker's SDK 2 ask for it
    request = tuning.tuning_request("Bayesian", X, most=4, RandomSeed=1)
    definition, name = request["TrainingJobDefinition"], request["HyperParameterTuningJobName"]
    definition["HyperParameterTuningResourceConfig"] = definition.pop("ResourceConfig")
    tuning.sagemaker.create_hyper_parameter_tuning_job(**request)
    described = tuning.tuned(name)
    assert described["TrainingJobDefinition"]["HyperParameterTuningResourceConfig"]["InstanceType"] == "ml.m5.large"
    events = states.until(lambda heard: len(heard) >= 2)
    assert [each["detail"]["HyperParameterTuningJobStatus"] for each in events] == ["InProgress", "Completed"]
    assert events[1]["detail"]["TrainingJobStatusCounters"]["Completed"] == 4
    states.close()
    # THEN all of them count
    assert described["HyperParameterTuningJobStatus"] == "Completed", described
    assert described["TrainingJobStatusCounters"]["Completed"] == 4
    assert described["ObjectiveStatusCounters"] == {"Succeeded": 4, "Pending": 0, "Failed": 0}
    # AND their values are in the range, and the objective is theirs
    trials = tuning.trials(name, SortBy="FinalObjectiveMetricValue", SortOrder="Ascending")
    assert [value(each) for each in trials] == sorted(value(each) for each in trials)
    for each in trials:
        x = float(each["TunedHyperParameters"]["rate"])
        assert 0 <= x <= 1
        assert value(each) == pytest.approx((x - 0.3) ** 2)
        assert each["TrainingJobName"].startswith(f"{name}-00")
        assert len(each["TrainingJobName"]) <= 63
    assert described["BestTrainingJob"]["TrainingJobName"] == trials[0]["TrainingJobName"]
    # AND the list comes by name unless told otherwise
    assert [each["TrainingJobName"] for each in tuning.trials(name)] == sorted(
        each["TrainingJobName"] for each in trials
    )
    last_first = tuning.trials(name, SortBy="CreationTime", SortOrder="Descending")
    assert [each["TrainingJobName"][:-9][-3:] for each in last_first] == ["004", "003", "002", "001"]
    # AND a trial is a training job that knows where it belongs
    trial = tuning.describe(trials[0]["TrainingJobName"])
    assert trial["TuningJobArn"] == described["HyperParameterTuningJobArn"]
    assert trial["HyperParameters"]["_tuning_objective_metric"] == "score"
    # AND the job is listed and searched for by when it was made and how it ended
    made, later = described["CreationTime"], described["CreationTime"] + dt.timedelta(minutes=1)
    for asked, found in (
        ({"CreationTimeAfter": made, "StatusEquals": "Completed"}, [name]), ({"CreationTimeAfter": later}, []),
        ({"LastModifiedTimeBefore": made - dt.timedelta(minutes=1)}, []), ({"StatusEquals": "Failed"}, []),
    ):  # fmt: skip
        listed = tuning.sagemaker.list_hyper_parameter_tuning_jobs(NameContains=name, **asked)
        assert [each["HyperParameterTuningJobName"] for each in listed["HyperParameterTuningJobSummaries"]] == found
    for status, found in (("Completed", [name]), ("Failed", [])):
        wanted = {"HyperParameterTuningJobName": name, "HyperParameterTuningJobStatus": status}
        filters = [{"Name": each, "Operator": "Equals", "Value": value} for each, value in wanted.items()]
        results = tuning.sagemaker.search(
            Resource="HyperParameterTuningJob", SearchExpression={"Filters": filters}
        )["Results"]  # fmt: skip
        assert [each["HyperParameterTuningJob"]["HyperParameterTuningJobName"] for each in results] == found
    # AND never more than two ran at once
    spans = [(each["CreationTime"], each["TrainingEndTime"]) for each in trials]
    assert max(sum(start <= at < end for start, end in spans) for at, _ in spans) <= 2


def test_random_search_repeats_itself_with_a_seed(tuning):
    names = [tuning.tune("Random", X, most=2, RandomSeed=7) for _ in range(2)]
    assert [tuning.tuned(name)["HyperParameterTuningJobStatus"] for name in names] == ["Completed"] * 2
    first, second = ([each["TunedHyperParameters"]["rate"] for each in tuning.trials(name)] for name in names)
    assert first == second
    assert len(set(first)) == 2


def test_a_grid_is_searched_wholly(tuning):
    name = tuning.tune("Grid", GOOD_OR_BAD)
    described = tuning.tuned(name)
    assert described["HyperParameterTuningJobStatus"] == "Completed", described
    assert sorted(each["TunedHyperParameters"]["choice"] for each in tuning.trials(name)) == ["bad", "good"]
    assert described["BestTrainingJob"]["TunedHyperParameters"] == {"choice": "good"}


def test_early_stopping_ends_a_trial_that_is_worse_than_the_finished_ones(tuning):
    # GIVEN a bad trial that would go on for ever
    name = tuning.tune("Grid", GOOD_OR_BAD, mode="curve", TrainingJobEarlyStoppingType="Auto")
    # WHEN the good one has finished
    described = tuning.tuned(name)
    # THEN the bad one is stopped, and the tuning job is complete
    assert described["HyperParameterTuningJobStatus"] == "Completed", described
    statuses = {each["TunedHyperParameters"]["choice"]: each["TrainingJobStatus"] for each in tuning.trials(name)}
    assert statuses == {"good": "Completed", "bad": "Stopped"}
    assert described["BestTrainingJob"]["TunedHyperParameters"] == {"choice": "good"}


def test_stop_ends_the_trials_that_run_and_starts_no_more(tuning, wait_for):
    name = tuning.tune("Random", X, mode="hang", most=5, parallel=1)
    wait_for(lambda: tuning.trials(name))
    tuning.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    described = tuning.tuned(name)
    assert described["HyperParameterTuningJobStatus"] == "Stopped"
    assert [each["TrainingJobStatus"] for each in tuning.trials(name)] == ["Stopped"]
    with pytest.raises(ClientError, match="cannot be stopped"):
        tuning.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)


def test_a_tuning_job_whose_trials_all_fail_says_why(tuning):
    described = tuning.tuned(tuning.tune("Grid", GOOD_OR_BAD, mode="fail"))
    assert described["HyperParameterTuningJobStatus"] == "Failed"
    assert "the pictures are of birds only" in described["FailureReason"]
    assert described["TrainingJobStatusCounters"]["NonRetryableError"] == 2
    assert "BestTrainingJob" not in described


def between(low, high, **more):
    return {"ContinuousParameterRanges": [{"Name": "rate", "MinValue": low, "MaxValue": high, **more}]}


REFUSED = {
    "min above max": (("Random", between("2", "1")), {"most": 1}, "rate: MinValue 2 must be below MaxValue 1"),
    "no numbers": (("Random", between("low", "high")), {"most": 1}, "must be numbers, not 'low' to 'high'"),
    "logarithm of zero": (("Random", between("0", "1", ScalingType="Logarithmic")), {"most": 1}, "MinValue above 0"),
    "grid over numbers": (("Grid", X), {}, "CategoricalParameterRanges only"),
    "grid of another size": (("Grid", GOOD_OR_BAD), {"most": 3}, "grid of 2 combinations"),
    "no number of trials": (("Random", X), {}, "MaxNumberOfTrainingJobs is missing"),
    "no ranges": (("Random", {}), {"most": 1}, "ParameterRanges"),
    "hyperband": (("Hyperband", X), {"most": 1}, "Bayesian, Random, Grid, not Hyperband"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_request_is_refused_with_a_sentence(tuning, case):
    arguments, options, sentence = REFUSED[case]
    with pytest.raises(ClientError, match=sentence) as refused:
        tuning.tune(*arguments, **options)
    assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_what_else_is_refused(tuning, local_aws):
    request = tuning.tuning_request("Random", X, most=1)
    request["TrainingJobDefinition"]["StaticHyperParameters"]["rate"] = "1"
    with pytest.raises(ClientError, match="rate cannot be both static and tuned"):
        tuning.sagemaker.create_hyper_parameter_tuning_job(**request)
    request = tuning.tuning_request("Random", X, most=1)
    request["HyperParameterTuningJobConfig"]["HyperParameterTuningJobObjective"]["MetricName"] = "f1"
    with pytest.raises(ClientError, match="'f1' is not among"):
        tuning.sagemaker.create_hyper_parameter_tuning_job(**request)
    request = tuning.tuning_request("Random", X, most=1)
    request["HyperParameterTuningJobConfig"]["ResourceLimits"]["MaxParallelTrainingJobs"] = 2
    with pytest.raises(ClientError, match=r"MaxParallelTrainingJobs must not be greater than .*, 1; it is 2"):
        tuning.sagemaker.create_hyper_parameter_tuning_job(**request)
    request = tuning.tuning_request("Random", X, most=1)
    del request["TrainingJobDefinition"]["ResourceConfig"]
    with pytest.raises(ClientError, match="needs ResourceConfig or HyperParameterTuningResourceConfig"):
        tuning.sagemaker.create_hyper_parameter_tuning_job(**request)
    request = tuning.tuning_request("Random", X, most=1) | {"HyperParameterTuningJobName": "n" * 33}
    with pytest.raises(ClientError, match="less than or equal to 32"):
        tuning.sagemaker.create_hyper_parameter_tuning_job(**request)
    name = tuning.tune("Grid", {"CategoricalParameterRanges": [{"Name": "choice", "Values": ["good"]}]})
    again = tuning.tuning_request("Grid", GOOD_OR_BAD) | {"HyperParameterTuningJobName": name}
    with pytest.raises(ClientError, match="already exists") as refused:
        tuning.sagemaker.create_hyper_parameter_tuning_job(**again)
    assert refused.value.response["Error"]["Code"] == "ResourceInUse"
    with pytest.raises(ClientError) as missing:
        tuning.describe_tuning("never-made")
    assert missing.value.response["Error"]["Code"] == "ResourceNotFound"
    # AND one that runs cannot be deleted, one that has ended can, and its training job stays
    with pytest.raises(ClientError, match="stop it first"):
        tuning.sagemaker.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    tuning.tuned(name)
    (trial,) = tuning.trials(name)
    tuning.sagemaker.delete_hyper_parameter_tuning_job(HyperParameterTuningJobName=name)
    listed = tuning.sagemaker.list_hyper_parameter_tuning_jobs(NameContains=name)
    assert listed["HyperParameterTuningJobSummaries"] == []
    assert tuning.describe(trial["TrainingJobName"])["TrainingJobStatus"] == "Completed"
    # AND nothing of it is on the disk any more
    assert not list((local_aws.state / "instances" / "training").glob(f"{name}*"))
