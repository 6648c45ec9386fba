import json
import subprocess
from pathlib import Path

import pytest
from musher import names, request_parameters
from musher.config import DeploymentConfig, TrainingConfig
from musher.request_parameters import scaling

TRAINING = TrainingConfig()
DEPLOYMENT = DeploymentConfig()
INPUTS = request_parameters.Inputs(
    dataset="s3://musher-bucket/dataset/images/",
    code=f"s3://musher-bucket/code/{'a' * 64}/",
    pretrained="s3://musher-bucket/pretrained/efficientnet_lite0/",
)
PACKAGE = "arn:aws:sagemaker:us-east-1:111122223333:model-package/musher-image-classifier/3"
TAGS = {"project": "musher", "dag": "train_image_classifier", "run": "manual__2026-11-20T20:39:00.123456+00:00"}


def as_dict(tags):
    return {tag["Key"]: tag["Value"] for tag in tags}


@pytest.mark.parametrize("instances", [1, 4])
def test_training_is_what_sagemaker_accepts(env, run, aws_problems, instances):
    hyperparameters = request_parameters.hyperparameters(TRAINING, {"lr": "0.01", "batch-size": "64"})

    request = request_parameters.training(
        TRAINING, env, hyperparameters, instances=instances, name="a-name", run=run, inputs=INPUTS
    )

    assert aws_problems("sagemaker", "CreateTrainingJob", request) == []
    assert request["ResourceConfig"]["InstanceCount"] == instances
    assert as_dict(request["Tags"]) == TAGS
    assert request["EnableNetworkIsolation"] is True
    assert request["HyperParameters"]["lr"] == "0.01"
    assert request["HyperParameters"]["batch-size"] == "64"
    assert ("sagemaker_torch_distributed_enabled" in request["HyperParameters"]) == (instances > 1)
    uris = {c["ChannelName"]: c["DataSource"]["S3DataSource"]["S3Uri"] for c in request["InputDataConfig"]}
    assert set(uris) == {"train", "valid", "test", "pretrained", "code"}
    assert uris["valid"] == "s3://musher-bucket/dataset/images/valid/"
    assert request["OutputDataConfig"]["S3OutputPath"] == "s3://musher-bucket/jobs"
    assert request["CheckpointConfig"]["S3Uri"] == "s3://musher-bucket/checkpoints/a-name/"


def test_two_variants_are_what_sagemaker_accepts(env, run, aws_problems):
    request = request_parameters.variants(
        env, name="a-name", run=run, models={"a": "one", "b": "two"}, instance_type="ml.m5.large", expires="2026-11-25"
    )

    assert aws_problems("sagemaker", "CreateEndpointConfig", request) == []
    assert [each["VariantName"] for each in request["ProductionVariants"]] == ["a", "b"]
    assert {each["InitialVariantWeight"] for each in request["ProductionVariants"]} == {1.0}
    assert as_dict(request["Tags"]) == {**TAGS, "expires": "2026-11-25"}


SPOT = TrainingConfig(managed_spot=True, max_runtime_seconds=600, max_wait_seconds=900)
SPOT_LIMITS = {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 900}


def test_training_on_managed_spot_is_what_sagemaker_accepts(env, run, aws_problems):
    request = request_parameters.training(
        SPOT, env, request_parameters.hyperparameters(SPOT), instances=2, name="a-name", run=run, inputs=INPUTS
    )

    assert aws_problems("sagemaker", "CreateTrainingJob", request) == []
    assert request["EnableManagedSpotTraining"] is True
    assert request["StoppingCondition"] == SPOT_LIMITS
    assert request["CheckpointConfig"]["S3Uri"] == "s3://musher-bucket/checkpoints/a-name/"


def test_trials_on_managed_spot_go_on_from_checkpoints_of_their_own(env, run, aws_problems):
    request = request_parameters.tuning(
        SPOT, env, request_parameters.hyperparameters(SPOT), name="a-name", run=run, inputs=INPUTS
    )

    assert aws_problems("sagemaker", "CreateHyperParameterTuningJob", request) == []
    definition = request["TrainingJobDefinition"]
    assert definition["EnableManagedSpotTraining"] is True
    assert definition["StoppingCondition"] == SPOT_LIMITS
    assert definition["CheckpointConfig"]["S3Uri"] == "s3://musher-bucket/checkpoints/a-name/"
    # The toolkit decodes `true` and prints `True`: JSON-encoded it arrives as it is.
    assert definition["StaticHyperParameters"]["checkpoint-per-job"] == '"true"'


def test_nothing_is_said_of_spot_unless_it_is_chosen(env, run):
    config = TrainingConfig(max_wait_seconds=900)
    values = request_parameters.hyperparameters(config)
    model = "s3://musher-bucket/jobs/a/output/model.tar.gz"

    definitions = [
        request_parameters.training(config, env, values, instances=1, name="a-name", run=run, inputs=INPUTS),
        request_parameters.tuning(config, env, values, name="a-name", run=run, inputs=INPUTS)["TrainingJobDefinition"],
        # An evaluation takes a minute and keeps nothing: waiting for capacity would cost more than it saves.
        request_parameters.evaluation_job(SPOT, env, name="a-name", run=run, inputs=INPUTS, model_data=model),
    ]

    for each in definitions:
        assert "EnableManagedSpotTraining" not in each
        assert set(each["StoppingCondition"]) == {"MaxRuntimeInSeconds"}


def test_the_checker_itself_finds_what_is_wrong(env, run, aws_problems):
    # GIVEN a request with one thing wrong of each kind
    request = request_parameters.training(TRAINING, env, {}, instances=1, name="-x", run=run, inputs=INPUTS)
    request["ResourceConfig"]["InstanceType"] = "ml.none"
    request["StoppingCondition"]["MaxRuntimeInSeconds"] = 0
    request["Nonsense"] = 1
    del request["RoleArn"]

    problems = " ".join(aws_problems("sagemaker", "CreateTrainingJob", request))

    for part in ["'-x' does not match", "ml.none", "below 1", "Nonsense", "RoleArn"]:
        assert part in problems


def test_what_tuning_found_flows_into_training_and_nothing_else_of_it():
    found = {
        "lr": "0.0123",
        "batch-size": "128",
        "epochs": "5",
        "sagemaker_program": "x",
        "_tuning_objective_metric": "y",
    }

    values = request_parameters.hyperparameters(TRAINING, found, augment_views=2)

    assert values["lr"] == "0.0123"
    assert values["batch-size"] == "128"
    assert values["epochs"] == "10"
    assert values["augment-views"] == "2"
    assert not [name for name in values if name.startswith(("sagemaker", "_"))]


@pytest.mark.parametrize("strategy", ["Bayesian", "Random", "Grid"])
def test_tuning_is_what_sagemaker_accepts(env, run, aws_problems, strategy):
    config = TrainingConfig(strategy=strategy, max_jobs=9)
    name = run.name("musher", names.TUNE)

    request = request_parameters.tuning(
        config,
        env,
        request_parameters.hyperparameters(config, {"lr": "1", "batch-size": "1"}),
        name=name,
        run=run,
        inputs=INPUTS,
    )

    assert aws_problems("sagemaker", "CreateHyperParameterTuningJob", request) == []
    assert as_dict(request["Tags"]) == TAGS
    job = request["HyperParameterTuningJobConfig"]
    ranges = job["ParameterRanges"]
    static = request["TrainingJobDefinition"]["StaticHyperParameters"]
    assert static["epochs"] == "5"
    assert not {"lr", "batch-size"} & set(static)
    metrics = request["TrainingJobDefinition"]["AlgorithmSpecification"]["MetricDefinitions"]
    assert job["HyperParameterTuningJobObjective"]["MetricName"] in {metric["Name"] for metric in metrics}
    if strategy == "Grid":
        assert "ContinuousParameterRanges" not in ranges
        assert "MaxNumberOfTrainingJobs" not in job["ResourceLimits"]
        assert {r["Name"]: r["Values"] for r in ranges["CategoricalParameterRanges"]} == {
            "lr": ["0.001", "0.01", "0.1"],
            "batch-size": ["32", "64", "128"],
        }
    else:
        rate = {"Name": "lr", "MinValue": "0.001", "MaxValue": "0.1", "ScalingType": "Logarithmic"}
        assert ranges["ContinuousParameterRanges"] == [rate]
        assert job["ResourceLimits"] == {"MaxNumberOfTrainingJobs": 9, "MaxParallelTrainingJobs": 2}


def test_metrics_are_read_from_what_the_script_prints():
    import re

    lines = (
        "epoch=3 train_loss=0.1234 valid_loss=9.9 valid_accuracy=0.9100 best_valid_loss=2.345e-01 seconds=1.23\n"
        "Test set: Average loss: 0.2345, Accuracy: 46/50 (92.00%)\n"
        "test_loss=0.25 test_accuracy=0.9200\n"
        "DiagnosticRule WeightUpdateRatio: IssuesFound step=12 value=62.1 threshold=10: a step changed head.0.weight\n"
        "diagnostics: issues=1 none=13 stopped=3 errors=0\n"
    )

    found = {metric["Name"]: re.findall(metric["Regex"], lines) for metric in request_parameters.METRIC_DEFINITIONS}

    assert found == {
        "train:loss": ["0.1234"],
        "valid:loss": ["2.345e-01"],
        "valid:accuracy": ["0.9100"],
        "test:loss": ["0.25"],
        "test:accuracy": ["0.9200"],
        "diagnostics:issues": ["1"],
        "diagnostics:issue_at_step": ["12"],
    }


def test_evaluation_is_what_sagemaker_accepts(env, run, aws_problems):
    model = "s3://musher-bucket/jobs/a/output/model.tar.gz"

    request = request_parameters.evaluation_job(TRAINING, env, name="a-name", run=run, inputs=INPUTS, model_data=model)

    assert aws_problems("sagemaker", "CreateTrainingJob", request) == []
    assert request["HyperParameters"]["sagemaker_program"] == "evaluate.py"
    assert [c["ChannelName"] for c in request["InputDataConfig"]] == ["model", "test", "code"]
    assert as_dict(request["Tags"]) == TAGS


@pytest.mark.parametrize(("accepted", "status"), [(True, "Approved"), (False, "Rejected")])
def test_registration_is_what_sagemaker_accepts(env, run, aws_problems, accepted, status):
    arguments = {
        "model_data": "s3://musher-bucket/jobs/a/output/model.tar.gz",
        "accepted": accepted,
        "reason": "Accuracy is 0.52; it has to be at least 0.6. " * 60,
        "properties": {"dataset_version": "0123456789abcdef", "test_accuracy": 0.9},
        "evaluation": "s3://musher-bucket/runs/r/evaluation.json",
    }

    group = request_parameters.model_package_group(env, run)
    package = request_parameters.model_package(env, run, **arguments)
    approval = request_parameters.model_approval(PACKAGE, accepted=accepted, reason=arguments["reason"])

    assert aws_problems("sagemaker", "CreateModelPackageGroup", group) == []
    assert aws_problems("sagemaker", "CreateModelPackage", package) == []
    assert aws_problems("sagemaker", "UpdateModelPackage", approval) == []
    assert package["ModelApprovalStatus"] == approval["ModelApprovalStatus"] == status
    assert package["CustomerMetadataProperties"]["test_accuracy"] == "0.9"
    assert package["CustomerMetadataProperties"]["run"] == run.run_id
    assert package == request_parameters.model_package(env, run, **arguments)  # a retry sends the same token
    assert "Tags" not in package  # AWS refuses tags on a version in a group


def test_serving_is_what_sagemaker_accepts(env, run, aws_problems):
    model = request_parameters.model(env, name="a-model", run=run, package_arn=PACKAGE)
    config = request_parameters.endpoint_config(DEPLOYMENT, env, name="a-config", run=run, model_name="a-model")
    on_gpus = request_parameters.model(env, name="a-model", run=run, package_arn=PACKAGE, specification="gpu")
    create = request_parameters.create_endpoint(env, name="an-endpoint", config_name="a-config", run=run)
    update = request_parameters.update_endpoint(name="an-endpoint", config_name="a-config")

    assert aws_problems("sagemaker", "CreateModel", model) == []
    assert aws_problems("sagemaker", "CreateModel", on_gpus) == []
    named = {"ModelPackageName": PACKAGE, "Environment": {"MODEL_NAME": "a-model"}}
    assert on_gpus["PrimaryContainer"] == named | {"InferenceSpecificationName": "gpu"}
    assert model["PrimaryContainer"] == named
    assert aws_problems("sagemaker", "CreateEndpointConfig", config) == []
    assert aws_problems("sagemaker", "CreateEndpoint", create) == []
    assert aws_problems("sagemaker", "UpdateEndpoint", update) == []
    for request in (model, config, create):
        assert as_dict(request["Tags"]) == TAGS
    assert config["ProductionVariants"][0]["InitialInstanceCount"] == 1


def test_calls_are_captured_where_callers_are_and_a_person_says_so(env, run, aws_problems):
    def config(percent, capture):
        told = DEPLOYMENT.model_copy(update={"capture_percent": percent})
        names = {"name": "a-config", "run": run, "model_name": "a-model"}
        return request_parameters.endpoint_config(told, env, **names, capture=capture)

    captured = config(20, True)
    assert aws_problems("sagemaker", "CreateEndpointConfig", captured) == []
    assert captured["DataCaptureConfig"]["InitialSamplingPercentage"] == 20
    assert captured["DataCaptureConfig"]["DestinationS3Uri"] == f"s3://{env.bucket}/capture"
    for percent, capture in ((0, True), (20, False)):
        assert "DataCaptureConfig" not in config(percent, capture)


def container_of(specification):
    return specification["Containers"][0]


def test_a_model_is_registered_with_an_image_for_cpus_and_one_for_gpus(env, run):
    package = request_parameters.model_package(
        env, run, model_data="s3://b/m.tar.gz", accepted=True, reason="Good.", properties={}
    )
    additional = {each["Name"]: container_of(each) for each in package["AdditionalInferenceSpecifications"]}

    registry = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference"
    assert container_of(package["InferenceSpecification"])["Image"] == f"{registry}:2.6.0-cpu-py312"
    assert additional["gpu"]["Image"] == f"{registry}:2.6.0-gpu-py312"
    assert additional["gpu"]["ModelDataUrl"] == "s3://b/m.tar.gz"
    assert request_parameters.inference_specification(package, "cpu") == ("", f"{registry}:2.6.0-cpu-py312")
    assert request_parameters.inference_specification(package, "gpu") == ("gpu", f"{registry}:2.6.0-gpu-py312")


def test_an_image_of_ones_own_is_the_only_one_that_a_model_is_registered_with(env, run):
    mine = "111122223333.dkr.ecr.us-east-1.amazonaws.com/mine:1"
    own = env.model_copy(update={"inference_image": mine})
    package = request_parameters.model_package(
        own, run, model_data="s3://b/m.tar.gz", accepted=True, reason="Good.", properties={}
    )

    assert "AdditionalInferenceSpecifications" not in package
    for device in ("cpu", "gpu"):
        assert request_parameters.inference_specification(package, device) == ("", mine)


def test_a_job_runs_in_the_image_for_its_instance_type(env, run):
    config = TrainingConfig(training_instance_type="ml.g5.xlarge")
    training = request_parameters.training(config, env, {}, instances=1, name="a", run=run, inputs=INPUTS)
    tuning = request_parameters.tuning(config, env, {}, name="a", run=run, inputs=INPUTS)
    evaluation = request_parameters.evaluation_job(config, env, name="a", run=run, inputs=INPUTS, model_data="s3://b/m")

    for definition in (training, tuning["TrainingJobDefinition"], evaluation):
        image = definition["AlgorithmSpecification"]["TrainingImage"]
        assert image == "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.13-cu133-amzn2023-sagemaker"


def test_scaling_is_what_application_auto_scaling_accepts(aws_problems):
    target = request_parameters.scalable_target(DEPLOYMENT, endpoint_name="an-endpoint")
    policy = request_parameters.scaling_policy(DEPLOYMENT, endpoint_name="an-endpoint", target=600.0)
    same = scaling.variant("an-endpoint")

    assert aws_problems("application-autoscaling", "RegisterScalableTarget", target) == []
    assert aws_problems("application-autoscaling", "PutScalingPolicy", policy) == []
    assert aws_problems("application-autoscaling", "DeregisterScalableTarget", same) == []
    assert target["ResourceId"] == policy["ResourceId"] == "endpoint/an-endpoint/variant/AllTraffic"
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 3)
    tracking = policy["TargetTrackingScalingPolicyConfiguration"]
    assert tracking["TargetValue"] == 600.0
    assert (tracking["ScaleOutCooldown"], tracking["ScaleInCooldown"]) == (300, 300)


def test_alarms_are_what_cloudwatch_accepts_and_no_traffic_is_none(aws_problems):
    topic = "arn:aws:sns:us-east-1:111122223333:t"
    alarms = request_parameters.serving_alarms(DEPLOYMENT, names.Stack("p"), topic=topic)
    for each in alarms:
        assert aws_problems("cloudwatch", "PutMetricAlarm", each) == []
        assert each["AlarmActions"] == each["OKActions"] == [topic]
    assert tuple(each["AlarmName"] for each in alarms) == request_parameters.serving_alarm_names(names.Stack("p"))
    # Only instances report without being called.
    assert [each["MetricName"] for each in alarms if each["TreatMissingData"] == "breaching"] == ["CPUUtilization"]
    assert not any("AlarmActions" in each for each in request_parameters.serving_alarms(DEPLOYMENT, names.Stack("p")))


def test_the_function_is_what_lambda_accepts(env, run, aws_problems):
    stack = names.Stack("musher")
    create = request_parameters.create_function(
        DEPLOYMENT, env, stack=stack, run=run, archive=b"zip", endpoint_name="an-endpoint"
    )
    settings = request_parameters.update_function_configuration(
        DEPLOYMENT, env, stack=stack, endpoint_name="an-endpoint"
    )

    assert aws_problems("lambda", "CreateFunction", create) == []
    assert aws_problems("lambda", "UpdateFunctionConfiguration", settings) == []
    assert (
        aws_problems("lambda", "UpdateFunctionCode", request_parameters.update_function_code(name="f", archive=b"zip"))
        == []
    )
    version = request_parameters.publish_version(name="f", code_sha256="abc=", run=run)
    assert aws_problems("lambda", "PublishVersion", version) == []
    alias = request_parameters.create_alias(name="f", version="3")
    assert aws_problems("lambda", "CreateAlias", alias) == []
    moved = request_parameters.update_alias(name="f", version="4", previous_version="3")
    assert aws_problems("lambda", "UpdateAlias", moved) == []
    reserved = request_parameters.reserved_concurrency(10, name="f")
    assert aws_problems("lambda", "PutFunctionConcurrency", reserved) == []
    provisioned = request_parameters.provisioned_concurrency(2, name="f", qualifier="4")
    assert aws_problems("lambda", "PutProvisionedConcurrencyConfig", provisioned) == []
    assert create["Tags"] == TAGS
    assert create["Environment"]["Variables"] == {"ENDPOINT_NAME": "an-endpoint"}
    assert provisioned["Qualifier"] == moved["FunctionVersion"]


TOOLKIT = Path(".venv-ml/bin/python")


@pytest.mark.skipif(not TOOLKIT.exists(), reason="the training toolkit's environment is not there")
def test_hyperparameters_reach_the_script_unchanged(env, run, tmp_path):
    # GIVEN values of the kinds that JSON would change on the way
    values = {"flag": True, "rate": "1e-3", "name": "true", "digits": "007", "size": 32, "path": "a b", "quoted": '"x"'}
    request = request_parameters.training(TRAINING, env, values, instances=2, name="n", run=run, inputs=INPUTS)
    config = tmp_path / "input" / "config"
    config.mkdir(parents=True)
    (config / "hyperparameters.json").write_text(json.dumps(request["HyperParameters"]))
    (config / "resourceconfig.json").write_text(json.dumps({"current_host": "a", "hosts": ["a"]}))
    (config / "inputdataconfig.json").write_text("{}")
    script = (
        "import json; from sagemaker_training import environment; e = environment.Environment();"
        "print(json.dumps([e.to_cmd_args(), e.additional_framework_parameters, e.user_entry_point, e.module_dir]))"
    )

    # WHEN AWS's own toolkit reads them
    done = subprocess.run(
        [TOOLKIT.absolute(), "-c", script],
        env={"SAGEMAKER_BASE_DIR": str(tmp_path), "AWS_DEFAULT_REGION": "us-east-1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    arguments, framework, program, archive = json.loads(done.stdout.splitlines()[-1])

    # THEN the script's command line says what was meant
    pairs = dict(zip(arguments[::2], arguments[1::2], strict=True))
    expected = {f"--{k}": ("true" if v is True else str(v)) for k, v in values.items()}
    assert pairs == expected
    assert framework == {"sagemaker_torch_distributed_enabled": True}
    assert program == "train.py"
    assert archive == "/opt/ml/input/data/code/sourcedir.tar.gz"


def test_a_rule_that_stops_a_job_ends_a_trial_early(env, run):
    config = TrainingConfig(
        rules="default,Overfit:off",
        on_issue={
            "ClassImbalance": "stop",
            "Confusion": "notify",
            "WeightUpdateRatio": "retry",
            "Overtraining": "retry",
        },
    )
    values = request_parameters.hyperparameters(config)
    trials = request_parameters.tuning(config, env, values, name="t", run=run, inputs=INPUTS)

    # What goes on for too long needs no other job: it ends there, with its best epoch.
    assert values["rules"] == "default,Overfit:off,ClassImbalance:stop,Overtraining:end,WeightUpdateRatio:stop"
    assert trials["TrainingJobDefinition"]["StaticHyperParameters"]["rules"] == (
        "default,Overfit:off,ClassImbalance:end,Overtraining:end,WeightUpdateRatio:end"
    )
