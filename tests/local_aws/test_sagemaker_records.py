"""SageMaker's models, endpoint configurations and groups, which moto keeps: refused, listed, tagged, described."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest
from botocore.exceptions import ClientError

from tests.local_aws.serving import IMAGE, Serving


@pytest.fixture(scope="module")
def serving(local_aws, bucket, role_arn):
    return Serving(local_aws, bucket, role_arn)


@pytest.fixture(scope="module")
def model(serving):
    return serving.model()


def container(serving, model, **changes):
    return {"Image": IMAGE, "ModelDataUrl": f"s3://{serving.bucket}/{model}/model.tar.gz"} | changes


REFUSED_MODELS = {
    "underscore": (lambda made: {"ModelName": "m_0"}, "regular expression pattern"),
    "no container": (lambda made: {"PrimaryContainer": None}, "needs PrimaryContainer or Containers"),
    "no image": (lambda made: {"PrimaryContainer": made | {"Image": None}}, "needs an Image or a ModelPackageName"),
    "missing data": (
        lambda made: {"PrimaryContainer": made | {"ModelDataUrl": made["ModelDataUrl"] + "x"}},
        "Could not find model data at s3://.*tar.gzx",
    ),
    "folder of a model": (
        lambda made: {
            "PrimaryContainer": {
                "Image": IMAGE,
                "ModelDataSource": {
                    "S3DataSource": {"S3Uri": "s3://x/y/", "S3DataType": "S3Prefix", "CompressionType": "None"}
                },
            }
        },
        "name it by ModelDataUrl",
    ),
    "missing bucket": (
        lambda made: {"PrimaryContainer": made | {"ModelDataUrl": "s3://no-such-bucket/model.tar.gz"}},
        "Could not find model data at s3://no-such-bucket/",
    ),
    "tag twice": (lambda made: {"Tags": [{"Key": "a", "Value": "1"}] * 2}, "tag key a is there twice"),
}


@pytest.mark.parametrize("case", REFUSED_MODELS)
def test_a_model_that_could_not_serve_is_refused(serving, model, case):
    change, sentence = REFUSED_MODELS[case]
    made = container(serving, model)
    request = {"ModelName": "refused", "ExecutionRoleArn": serving.role_arn, "PrimaryContainer": made} | change(made)
    request = {name: value for name, value in request.items() if value is not None}
    for name, value in request.get("PrimaryContainer", {}).copy().items():
        if value is None:
            del request["PrimaryContainer"][name]
    with pytest.raises(ClientError, match=sentence) as refused:
        serving.sagemaker.create_model(**request)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    with pytest.raises(ClientError, match="Could not find model"):
        serving.sagemaker.describe_model(ModelName="refused")


def test_a_name_that_is_taken_is_refused(serving, model):
    sagemaker, config = serving.sagemaker, serving.config(model)
    group = f"group-{uuid.uuid4().hex[:8]}"
    sagemaker.create_model_package_group(ModelPackageGroupName=group)
    with pytest.raises(ClientError, match=f'Cannot create already existing model "arn:aws:sagemaker:.*:model/{model}"'):
        sagemaker.create_model(
            ModelName=model, ExecutionRoleArn=serving.role_arn, PrimaryContainer=container(serving, model)
        )
    variant = {"VariantName": "v", "ModelName": model, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    with pytest.raises(ClientError, match="Cannot create already existing endpoint configuration"):
        sagemaker.create_endpoint_config(EndpointConfigName=config, ProductionVariants=[variant])
    with pytest.raises(ClientError, match=f"Model Package Group already exists: arn:.*/{group}"):
        sagemaker.create_model_package_group(ModelPackageGroupName=group)
    sagemaker.delete_model_package_group(ModelPackageGroupName=group)


def test_an_endpoint_that_nobody_would_serve_is_refused(serving, model):
    serverless = {
        "VariantName": "v",
        "ModelName": model,
        "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1},
    }
    with pytest.raises(ClientError, match="ServerlessConfig of the variant v: the local AWS has no serverless"):
        serving.sagemaker.create_endpoint_config(EndpointConfigName="refused", ProductionVariants=[serverless])


def test_what_was_not_given_is_not_described(serving, model):
    described = serving.sagemaker.describe_model(ModelName=model)
    assert not {"VpcConfig", "Containers"} & set(described)
    config = serving.sagemaker.describe_endpoint_config(EndpointConfigName=serving.config(model))
    assert not {"DataCaptureConfig", "AsyncInferenceConfig", "KmsKeyId"} & set(config)


def test_lists_are_filtered_and_in_order(serving):
    models = [serving.model() for _ in range(2)]
    configs = [serving.config(each) for each in models]
    now = dt.datetime.now(dt.UTC)
    for operation, key, name, made in (
        (serving.sagemaker.list_models, "Models", "ModelName", models),
        (serving.sagemaker.list_endpoint_configs, "EndpointConfigs", "EndpointConfigName", configs),
    ):

        def listed(operation=operation, key=key, name=name, **filters):
            return [each[name] for each in operation(**filters)[key]]

        assert listed(NameContains=made[0]) == made[:1]
        assert listed(CreationTimeAfter=now + dt.timedelta(minutes=1)) == []
        assert listed(MaxResults=2) == made[::-1]  # the newest first
        found = listed(SortBy="Name", SortOrder="Ascending", MaxResults=100)
        assert found == sorted(found)
        assert set(made) <= set(found)


def test_experiments_are_listed_by_time_and_in_order(serving):
    sagemaker, now, names = serving.sagemaker, dt.datetime.now(dt.UTC), [f"e-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    later = {"CreatedAfter": now + dt.timedelta(hours=1)}
    for name in names:
        sagemaker.create_experiment(ExperimentName=name)
        sagemaker.create_trial(TrialName=f"t-{name}", ExperimentName=name)
        sagemaker.create_trial_component(TrialComponentName=f"c-{name}", DisplayName="shown")
        sagemaker.associate_trial_component(TrialComponentName=f"c-{name}", TrialName=f"t-{name}")
    for kind, operation, start in (
        ("Experiment", sagemaker.list_experiments, ""),
        ("Trial", sagemaker.list_trials, "t-"),
        ("TrialComponent", sagemaker.list_trial_components, "c-"),
    ):

        def listed(operation=operation, kind=kind, **asked):
            return [each[f"{kind}Name"] for each in operation(**asked)[f"{kind}Summaries"]]

        made = [f"{start}{name}" for name in names]
        assert listed(MaxResults=2) == made[::-1]
        assert set(made) <= set(listed(CreatedBefore=now + dt.timedelta(hours=1), MaxResults=100))
        assert listed(**later) == []
        found = listed(SortBy="Name", SortOrder="Ascending", MaxResults=100)
        assert found == sorted(found)
        if start:
            assert listed(ExperimentName=names[0]) == made[:1]
    component = f"c-{names[1]}"
    assert sagemaker.list_trials(TrialComponentName=component)["TrialSummaries"][0]["TrialName"] == f"t-{names[1]}"
    (summary,) = sagemaker.list_trial_components(TrialName=f"t-{names[1]}")["TrialComponentSummaries"]
    assert summary["DisplayName"] == "shown"
    with pytest.raises(ClientError, match="does not carry out SourceArn"):
        sagemaker.list_trial_components(SourceArn="arn:aws:sagemaker:us-east-1:123456789012:training-job/j")


def test_tags_are_found_whatever_the_name_and_replaced_when_they_are_there(serving, model):
    sagemaker = serving.sagemaker
    name = f"Capital-{uuid.uuid4().hex[:8]}"
    arn = sagemaker.create_endpoint(
        EndpointName=name, EndpointConfigName=serving.config(model), Tags=[{"Key": "a", "Value": "1"}]
    )["EndpointArn"]
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "a", "Value": "2"}, {"Key": "b", "Value": "3"}])
    tags = {each["Key"]: each["Value"] for each in sagemaker.list_tags(ResourceArn=arn)["Tags"]}
    assert tags == {"a": "2", "b": "3"}
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["a"])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "b", "Value": "3"}]
    with pytest.raises(ClientError, match="aws: prefixed"):
        sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "AWS:x", "Value": "1"}])
    serving.delete(name)
