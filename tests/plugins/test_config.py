import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from musher import instances
from musher.config import ComparisonConfig, ConfigError, DeploymentConfig, Environment, TrainingConfig

ACCEPTED = {"check": "topic", "where": "arn", "severity": "low", "reason": "why", "until": "2027-06-30"}
GOOD_ENVIRONMENT = {
    "bucket": "a-bucket",
    "region": "eu-central-1",
    "training_role_arn": "arn:aws:iam::111122223333:role/a",
    "endpoint_role_arn": "arn:aws:iam::111122223333:role/b",
    "lambda_role_arn": "arn:aws:iam::111122223333:role/service/c",
}


def sentence(call) -> str:
    with pytest.raises(ConfigError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith((".", "?"))
    return text


@pytest.mark.parametrize("config", [TrainingConfig, DeploymentConfig, ComparisonConfig])
def test_the_form_explains_every_field_and_takes_its_own_defaults(config):
    params = config.params()

    for name, param in params.items():
        assert param.resolve() == param.value
        assert param.schema["title"], name
        assert param.schema["description_md"].endswith((".", "it.")), name
        assert param.schema["section"], name
    assert config.from_params({name: param.value for name, param in params.items()}) == config()


def test_the_form_refuses_what_the_configuration_refuses():
    from airflow.sdk.exceptions import ParamValidationError

    params = TrainingConfig.params()

    for name, value in [
        ("max_jobs", 0),
        ("strategy", "Grit"),
        ("batch_sizes", ["a"]),
        ("accuracy_floor", 1.1),
        ("on_issue", {"ClassImbalance": "retry"}),
        ("on_issue", {"Overfits": "stop"}),
        ("rules", "Overfit: off"),
        ("profile", "default,tracing:10"),
    ]:
        with pytest.raises(ParamValidationError):
            params[name].resolve(value)


def test_a_field_that_may_stay_empty_can_be_left_empty_in_the_form():
    for cleared in ("", None):
        assert TrainingConfig.params()["dataset"].resolve(cleared) == cleared
        assert TrainingConfig.from_params({"dataset": cleared}).dataset == ""


def test_other_defaults_are_checked_too():
    assert TrainingConfig.params(max_jobs=2)["max_jobs"].value == 2
    assert "max_jobs is 0" in sentence(lambda: TrainingConfig.params(max_jobs=0))


def test_a_configuration_cannot_be_changed_after_it_was_checked():
    with pytest.raises(ValueError):
        TrainingConfig().epochs = 3


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"max_jobs": 0}, ["max_jobs is 0", "a whole number from 1 to 500"]),
        ({"max_jobs": True}, ["max_jobs is true", "a whole number"]),
        ({"epochs": "many"}, ["epochs is 'many'", "a whole number"]),
        ({"epochs": 1.5}, ["epochs is 1.5", "a whole number"]),
        ({"accuracy_floor": 60}, ["accuracy_floor is 60", "from 0 to 1"]),
        ({"backbone": "vgg"}, ["backbone is 'vgg'", "efficientnet_lite0, resnet18, resnet50"]),
        ({"learning_rate_min": 0.2}, ["learning_rate_min is 0.2", "below learning_rate_max", "0.1"]),
        ({"learning_rate_min": 0.1}, ["learning_rate_min is 0.1", "below"]),
        ({"learning_rate_min": 0}, ["learning_rate_min is 0", "above 0"]),
        ({"learning_rate_max": float("nan")}, ["learning_rate_max is nan"]),
        ({"batch_sizes": []}, ["batch_sizes is []", "at least 1"]),
        ({"on_issue": "stop"}, ["on_issue is 'stop'", "an object"]),
        ({"on_issue": {"Overfit": 1}}, ["on_issue[Overfit] is 1", "one of report, stop, notify"]),
        ({"on_issue": {"WeightUpdateRation": "retry"}}, ["'WeightUpdateRation'", "did you mean WeightUpdateRatio?"]),
        ({"on_issue": {"Sunshine": "stop"}}, ["on_issue names the rule 'Sunshine'", "it has to be one of AllZero, "]),
        ({"on_issue": {"Overfit": "halt"}}, ["on_issue.Overfit is 'halt'", "it has to be report, stop or notify."]),
        ({"on_issue": {"OutOfMemory": "report"}}, ["on_issue.OutOfMemory is 'report'", "stop, notify or retry"]),
        ({"on_issue": {"Overfit": "retry"}}, ["on_issue.Overfit is 'retry'", "no remedy is known for it"]),
        (
            {"on_issue": {"ClassImbalance": "retry"}},
            ["on_issue.ClassImbalance is 'retry'", "report, stop or notify: the rule is about the data", "would hide"],
        ),
        ({"max_remedies": 11}, ["max_remedies is 11", "from 0 to 10"]),
        ({"rules": "defaults"}, ["rules has 'defaults'; did you mean default?"]),
        ({"rules": "default, Overfit"}, ["rules is 'default, Overfit'", "like default,Overfit:off"]),
        ({"profile": "trace: 10"}, ["profile is 'trace: 10'; it has to be like default,trace:10"]),
        (
            {"rules": "default,Overfit:ratio=0.2"},
            ["rules has Overfit:ratio=0.2; it has to be one of ratio_threshold, "],
        ),
        (
            {"rules": "LossNotDecreasing:num_steps=1.5"},
            ["rules has LossNotDecreasing:num_steps=1.5; num_steps has to be a whole number."],
        ),
        (
            {"rules": "Overfit:of_chance=maybe"},
            ["rules has Overfit:of_chance=maybe; of_chance has to be true or false."],
        ),
        ({"rules": "Overfit:ratio_threshold=nan"}, ["ratio_threshold has to be a number."]),
        ({"profile": "default,StepOutlir:off"}, ["profile has 'StepOutlir'; did you mean StepOutlier?"]),
        ({"profile": "default,Overfit:off"}, ["profile has 'Overfit'; it has to be one of BatchSize, ", "system"]),
        ({"profile": "StepOutlier:outliers=5"}, ["profile has StepOutlier:outliers=5; did you mean n_outliers?"]),
        (
            {"profile": "StepOutlier:n_outliers=many"},
            ["profile has StepOutlier:n_outliers=many; n_outliers has to be a whole number."],
        ),
        (
            {"profile": "OverallSystemUsage:threshold=5"},
            ["profile has OverallSystemUsage:threshold=5; OverallSystemUsage has no parameters."],
        ),
        (
            {"profile": "StepOutlier:stop"},
            ["profile has 'stop' for StepOutlier; it has to be off or a parameter=value."],
        ),
        ({"profile": "system:50"}, ["profile has 'system:50'; it has to be system:off, or a whole number from 100 to"]),
        ({"profile": "aws,trace:201"}, ["profile has 'trace:201'", "a whole number from 1 to 200 after the colon."]),
        ({"profile": "steps:2"}, ["profile has 'steps:2'; it has to be steps or steps:off."]),
        ({"rules": "default,Overfit:stop"}, ["rules has 'stop' for Overfit", "told in on_issue"]),
        ({"rules": "default,Overfit:half"}, ["rules has 'half' for Overfit", "off or a parameter=value"]),
        (
            {"rules": "default,Overfit:off", "on_issue": {"Overfit": "stop"}},
            ["on_issue.Overfit is 'stop', and rules turns Overfit off: leave one out."],
        ),
        ({"batch_sizes": [32, 0]}, ["batch_sizes[1] is 0", "from 1 to"]),
        ({"batch_sizes": [32, 32]}, ["batch_sizes is [32, 32]", "once"]),
        ({"max_parallel_jobs": 5}, ["max_parallel_jobs is 5", "max_jobs, which is 4"]),
        ({"strategy": "Grid"}, ["max_jobs is 4", "at least 9"]),
        (
            {"managed_spot": True, "max_wait_seconds": 600},
            ["max_wait_seconds is 600", "at least max_runtime_seconds, which is 3600"],
        ),
        ({"managed_spot": "perhaps"}, ["managed_spot is 'perhaps'", "true or false"]),
        ({"dataset_name": "../up"}, ["dataset_name is '../up'", "like images"]),
        ({"training_instance_type": "ml.m5.xlagre"}, ["training_instance_type", "'ml.m5.xlagre'", "mean ml.m5.xlarge"]),
        ({"training_instance_type": "m5.xlarge"}, ["'m5.xlarge'", "did you mean ml.m5.xlarge?"]),
        ({"training_instance_type": "ml.t2.medium"}, ["no instance type of SageMaker training jobs"]),
        ({"max_job": 3}, ["no field 'max_job'", "did you mean max_jobs?"]),
        ({"zzz": 3}, ["no field 'zzz'", "the fields are dataset"]),
    ],
)
def test_what_is_wrong_with_a_training_is_said_in_one_sentence(values, parts):
    text = sentence(lambda: TrainingConfig.from_params(values))

    for part in parts:
        assert part in text


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"reserved_concurrency": 1}, ["reserved_concurrency is 1", "at least provisioned_concurrency, which is 2"]),
        ({"min_instances": 4}, ["min_instances is 4", "at most max_instances, which is 3"]),
        ({"instance_type": "ml.t2.medium"}, ["'ml.t2.medium'", "burstable", "ml.m5.large", "max_instances to 1"]),
        ({"instance_type": "ml.t3.medium"}, ["burstable"]),
        ({"instance_type": "ml.huge"}, ["instance_type is 'ml.huge'", "no instance type of SageMaker endpoints"]),
        ({"scale_out_load": 0.5}, ["scale_out_load is 0.5", "above safety_factor"]),
        ({"model_package_arn": "musher/3"}, ["model_package_arn is 'musher/3'", "model-package/"]),
        ({"function_memory_mb": 64}, ["function_memory_mb is 64", "from 128"]),
    ],
)
def test_what_is_wrong_with_a_deployment_is_said_in_one_sentence(values, parts):
    text = sentence(lambda: DeploymentConfig.from_params(values))

    for part in parts:
        assert part in text


def test_a_burstable_type_is_fine_for_an_endpoint_that_does_not_scale():
    config = DeploymentConfig.from_params({"instance_type": "ml.t2.medium", "min_instances": 1, "max_instances": 1})

    assert not config.scales


def test_the_default_instance_types_exist():
    # The defaults are not looked up when a configuration is made, so that parsing a DAG loads no botocore model.
    assert TrainingConfig().training_instance_type in instances.known(instances.TRAINING)
    assert DeploymentConfig().instance_type in instances.known(instances.ENDPOINT)
    for config, field, kind in [
        (TrainingConfig, "training_instance_type", instances.TRAINING),
        (DeploymentConfig, "instance_type", instances.ENDPOINT),
    ]:
        assert set(config.model_fields[field].examples) <= instances.known(kind)


def test_a_grid_goes_from_the_lowest_to_the_highest_learning_rate():
    config = TrainingConfig(strategy="Grid", max_jobs=9)

    assert config.grid_learning_rates == (0.001, 0.01, 0.1)
    assert config.grid_size == 9


def test_only_a_spot_job_waits_longer_than_it_runs():
    on_demand = TrainingConfig(max_runtime_seconds=9000)
    spot = TrainingConfig(max_runtime_seconds=3600, max_wait_seconds=3600, managed_spot=True)

    assert on_demand.longest_job_seconds == 9000
    assert spot.longest_job_seconds == 3600


def test_an_environment_fills_in_what_follows_from_the_project():
    env = Environment.from_params(GOOD_ENVIRONMENT)

    assert env.project == "musher"
    assert env.poll_seconds == 30
    assert env.model_package_group == "musher-image-classifier"
    assert env.uri("dataset", "images", "") == "s3://a-bucket/dataset/images/"


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"bucket": None}, ["Airflow Variable musher: bucket is missing"]),
        ({"bucket": "s3://x"}, ["bucket is 's3://x'", "like my-company-musher"]),
        ({"training_role_arn": "admin"}, ["training_role_arn is 'admin'", "like arn:aws:iam"]),
        ({"training_image": "pytorch"}, ["training_image is 'pytorch'", "dkr.ecr"]),
        ({"project": "a-project-with-a-long-name"}, ["a-project-with-a-long-name", "at most 15 characters"]),
        ({"poll_seconds": 0}, ["poll_seconds is 0", "above 0"]),
        ({"buckett": "x"}, ["no field 'buckett'", "did you mean bucket?"]),
        ({"accepted_findings": [ACCEPTED | {"until": "2027-02-30"}]}, ["accepted_findings[0]: until is '2027-02-30'"]),
        ({"accepted_findings": [ACCEPTED, {}]}, ["accepted_findings[1]: check is missing"]),
        ({"accepted_findings": [ACCEPTED | {"severity": "bad"}]}, ["severity is 'bad'", "critical, high, medium, low"]),
    ],
)
def test_what_is_wrong_with_the_environment_is_said_in_one_sentence(change, parts):
    text = sentence(lambda: Environment.from_params(GOOD_ENVIRONMENT | change))

    for part in ["Airflow Variable musher", *parts]:
        assert part in text


def test_making_a_form_loads_no_aws_library():
    # GIVEN a fresh interpreter, as when a DAG file is parsed
    script = (
        "import sys; from musher.config import TrainingConfig, DeploymentConfig; import musher.request_parameters;"
        "TrainingConfig(); DeploymentConfig();"
        "heavy = sorted(m for m in sys.modules if m.split('.')[0] in ('boto3', 'botocore', 'airflow'));"
        "sys.exit(', '.join(heavy) or 0)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], cwd="plugins", capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr


def test_the_environment_is_read_from_the_airflow_variable(monkeypatch):
    monkeypatch.setenv("AIRFLOW_VAR_MUSHER", json.dumps(GOOD_ENVIRONMENT | {"poll_seconds": 1}))

    assert Environment.load().poll_seconds == 1

    monkeypatch.setenv("AIRFLOW_VAR_MUSHER", "[]")
    text = sentence(Environment.load)
    assert "Airflow Variable musher is missing; it has to be a JSON object with bucket, region" in text


@pytest.mark.parametrize(
    ("run_type", "approval"),
    [("asset_triggered", "before_release"), ("scheduled", "before_release"), ("manual", "none"), ("backfill", "none")],
)
def test_a_run_that_starts_by_itself_is_told_by_the_variable(monkeypatch, run_type, approval):
    from musher.operators.base import deployment_config

    told = {"deployment": {"approval": "before_release"}}
    monkeypatch.setenv("AIRFLOW_VAR_MUSHER", json.dumps(GOOD_ENVIRONMENT | told))
    context = {"dag_run": SimpleNamespace(run_type=run_type), "params": DeploymentConfig().model_dump()}

    config = deployment_config(context)

    assert config.approval == approval
    assert config.bake_seconds == DeploymentConfig().bake_seconds


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"deployment": {"approval": "perhaps"}}, "deployment: approval is 'perhaps'; it has to be one of none, "),
        ({"training": {"path": "one"}}, "training: there is no field 'path'; did you mean paths?"),
        ({"deployment": ["approval"]}, "deployment is ['approval']; it has to be an object"),
    ],
)
def test_what_the_variable_tells_such_runs_is_checked(change, words):
    text = sentence(lambda: Environment.from_params(GOOD_ENVIRONMENT | change))
    assert text.startswith(f"Airflow Variable musher: {words}")


def test_a_dag_takes_the_form():
    from airflow.sdk import DAG

    dag = DAG("d", params=TrainingConfig.params(max_jobs=2) | {"another": 1}, schedule=None)

    dag.validate()
    assert dag.params["max_jobs"] == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rounds": 3}, "rounds is 3; it has to be a whole number from 4 to 50."),
        ({"model_package_arn_b": "newest"}, "model_package_arn_b is 'newest'; it has to be like arn:aws:sagemaker:"),
        ({"instance_type": "ml.m5.huge"}, "instance_type is 'ml.m5.huge', which is no instance type of SageMaker end"),
        ({"confidence": 1.0}, "confidence is 1.0; it has to be a number from 0.5 to 0.999."),
    ],
)
def test_what_a_comparison_cannot_be_told_is_one_sentence(given, said):
    assert sentence(lambda: ComparisonConfig.from_params(given)).startswith(said)


def test_a_comparison_that_measures_more_takes_longer_and_stands_longer():
    usual, more = ComparisonConfig(), ComparisonConfig(rounds=16, pictures=400)
    assert 600 < usual.load_seconds < 1500
    assert usual.load_seconds < more.load_seconds
    assert usual.limit_seconds > 2 * (3600 + usual.load_limit_seconds)
