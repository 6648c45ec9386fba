"""Images that AWS does not have are refused with AWS's own sentence, and those that the DAGs name are there."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from musher import images as named_by_the_dags

from local_aws import images
from tests.local_aws.serving import Serving
from tests.local_aws.training_scripts import Jobs

ACCOUNT, REGION = "123456789012", "us-east-1"
HERE = "763104351884.dkr.ecr.us-east-1.amazonaws.com"
TRAINING = "pytorch:2.13-cpu-amzn2023-sagemaker"
INFERENCE = "pytorch-inference:2.6.0-cpu-py312"
PULL = "has proper pull permissions for SageMaker: ecr:BatchCheckLayerAvailability, ecr:BatchGetImage, "

# What is wrong with an image: what CreateTrainingJob says of it, and what CreateModel says.
REFUSED = {
    "an invented tag": (
        f"{HERE}/pytorch-training:2.13.0-cpu-py312",
        f"Cannot find the requested image: {HERE}/pytorch-training:2.13.0-cpu-py312 (AWS's images are known here as of",
        f"Requested image {HERE}/pytorch-training:2.13.0-cpu-py312 not found. (AWS's images are known here as of",
    ),
    "an invented repository": (
        f"{HERE}/pytorch-trainings:2.13",
        "Cannot find repository: pytorch-trainings in registry ID: 763104351884 Please check if your ECR repository "
        "exists and role {role} " + PULL,
        f"Requested image {HERE}/pytorch-trainings:2.13 not found.",
    ),
    "an account that has AWS's images elsewhere": (
        f"692866216735.dkr.ecr.us-east-1.amazonaws.com/{TRAINING}",
        "Access denied for repository: pytorch in registry ID: 692866216735. Please check if your ECR repository and "
        "image exist and role {role} " + PULL,
        f"The repository of your image 692866216735.dkr.ecr.us-east-1.amazonaws.com/{TRAINING} does not grant ecr:Get",
    ),
    "another region": (
        f"763104351884.dkr.ecr.eu-west-1.amazonaws.com/{INFERENCE}",
        "Invalid DNS suffix 'amazonaws.com' for region 'eu-west-1' in training image. Please provide the valid "
        "<region>.<dns-suffix>: 'us-east-1.amazonaws.com'",
        f'Region of "763104351884.dkr.ecr.eu-west-1.amazonaws.com/{INFERENCE}" does not match expected region of '
        "us-east-1. Cross region ECR image pulls are not allowed.",
    ),
    "no registry of AWS's": (
        f"docker.io/{TRAINING}",
        "TrainingImageConfig with TrainingRepositoryAccessMode set to VPC must be provided when using a training image",
        f'Using non-ECR image "docker.io/{TRAINING}" without Vpc repository access mode is not supported.',
    ),
    "an image without a stand-in": (
        f"{HERE}/huggingface-pytorch-training:2.1",
        "The local AWS has no stand-in for the image",
        "The local AWS has no stand-in for the image",
    ),
    "an image of one's own": (
        f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/team/mine:1",
        "as a training image. It has stand-ins for AWS's PyTorch images for training, in pytorch-training and pytorch.",
        "as an inference image. It has stand-ins for AWS's PyTorch images for inference, in pytorch-inference.",
    ),
    "a public registry": (
        f"public.ecr.aws/deep-learning-containers/{TRAINING}",
        "The local AWS has no stand-in for the image",
        "The local AWS has no stand-in for the image",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def jobs(local_aws, bucket, role_arn, wait_for):
    return Jobs(local_aws, bucket, role_arn, wait_for)


@pytest.fixture(scope="module")
def serving(local_aws, bucket, role_arn):
    return Serving(local_aws, bucket, role_arn)


@pytest.mark.parametrize("case", REFUSED)
def test_a_job_is_refused_an_image_as_aws_does(jobs, case):
    image, sentence, _ = REFUSED[case]
    request = jobs.request()
    request["AlgorithmSpecification"]["TrainingImage"] = image
    with pytest.raises(ClientError) as refused:
        jobs.sagemaker.create_training_job(**request)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert sentence.format(role=jobs.role) in refused.value.response["Error"]["Message"]


@pytest.mark.parametrize("case", REFUSED)
def test_a_model_is_refused_an_image_as_aws_does(serving, case):
    image, _, sentence = REFUSED[case]
    with pytest.raises(ClientError) as refused:
        serving.model(image=image)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    assert sentence in refused.value.response["Error"]["Message"]


def test_an_image_for_the_other_purpose_has_no_stand_in(jobs, serving):
    request = jobs.request()
    request["AlgorithmSpecification"]["TrainingImage"] = f"{HERE}/{INFERENCE}"
    with pytest.raises(ClientError, match=r"no stand-in for the image .*pytorch-inference.* as a training image"):
        jobs.sagemaker.create_training_job(**request)
    with pytest.raises(ClientError, match=r"no stand-in for the image .*pytorch.* as an inference image"):
        serving.model(image=f"{HERE}/{TRAINING}")


def test_the_image_of_a_model_package_is_that_of_the_specification(serving):
    # GIVEN a package whose second specification names an image that is not there
    group = "specifications"
    serving.sagemaker.create_model_package_group(ModelPackageGroupName=group)
    data = serving.sagemaker.describe_model(ModelName=serving.model())["PrimaryContainer"]["ModelDataUrl"]
    types = {"SupportedContentTypes": ["application/json"], "SupportedResponseMIMETypes": ["application/json"]}
    names = {"gpu": "2.6.0-gpu-py312", "other": "2.6.0-tpu-py312"}
    images_of = {name: f"{HERE}/pytorch-inference:{tag}" for name, tag in names.items()}
    package = serving.sagemaker.create_model_package(
        ModelPackageGroupName=group,
        InferenceSpecification={"Containers": [{"Image": f"{HERE}/{INFERENCE}", "ModelDataUrl": data}], **types},
        AdditionalInferenceSpecifications=[
            {"Name": name, "Containers": [{"Image": image, "ModelDataUrl": data}], **types}
            for name, image in images_of.items()
        ],
    )["ModelPackageArn"]

    def create(name: str, **more: str) -> None:
        serving.sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=serving.role_arn,
            PrimaryContainer={"ModelPackageName": package, **more},
        )

    # THEN each of them is looked at when it is asked for, and no other
    create("first-specification")
    create("gpu-specification", InferenceSpecificationName="gpu")
    with pytest.raises(ClientError, match=r"Requested image .*:2\.6\.0-tpu-py312 not found"):
        create("other-specification", InferenceSpecificationName="other")
    with pytest.raises(ClientError, match="has no inference specification 'none'"):
        create("no-specification", InferenceSpecificationName="none")
    # AND an endpoint serves what a specification names
    name = serving.create(serving.config("gpu-specification", instance_type="ml.g4dn.xlarge"))
    assert serving.wait(name)["EndpointStatus"] == "InService"
    assert serving.call(name)["model"] == "a"
    serving.delete(name)


@pytest.mark.parametrize("purpose", [named_by_the_dags.TRAINING, named_by_the_dags.INFERENCE])
def test_every_image_that_the_dags_know_has_a_stand_in_in_every_region(purpose):
    """The two tables are copies of one of AWS's: rooms that know nothing of each other keep one each."""
    assert images.catalogue()["accounts"] == named_by_the_dags.accounts()
    names = [name for version in named_by_the_dags.versions(purpose) for name in version.names()]
    assert len(names) > 3
    for region, account in named_by_the_dags.accounts().items():
        suffix = ".cn" if region.startswith("cn-") else ""
        for name in names:
            image = f"{account}.dkr.ecr.{region}.amazonaws.com{suffix}/{name}"
            assert images.refusal(image, purpose, account=ACCOUNT, region=region) is None, image
