"""Which image a job or an endpoint gets, and what is said of AWS's support of it."""

from __future__ import annotations

import datetime as dt
import re
import warnings

import pytest
from musher import images, instances
from musher.config import ConfigError, DeploymentConfig, Environment, TrainingConfig

ROLE = "arn:aws:iam::111122223333:role/a"
MINE = "111122223333.dkr.ecr.us-east-1.amazonaws.com/my-pytorch:1"


def environment(**values: str) -> Environment:
    facts = {"bucket": "a-bucket", "region": "us-east-1"}
    roles = dict.fromkeys(("training_role_arn", "endpoint_role_arn", "lambda_role_arn"), ROLE)
    return Environment.from_params(facts | roles | values)


@pytest.mark.parametrize(
    ("region", "instance_type", "registry", "tag"),
    [
        ("us-east-1", "ml.m5.xlarge", "763104351884.dkr.ecr.us-east-1.amazonaws.com", "2.13-cpu-amzn2023-sagemaker"),
        (
            "us-east-1",
            "ml.g4dn.xlarge",
            "763104351884.dkr.ecr.us-east-1.amazonaws.com",
            "2.13-cu133-amzn2023-sagemaker",
        ),
        (
            "eu-south-1",
            "ml.p5.48xlarge",
            "692866216735.dkr.ecr.eu-south-1.amazonaws.com",
            "2.13-cu133-amzn2023-sagemaker",
        ),
        (
            "cn-north-1",
            "ml.m5.large",
            "727897471807.dkr.ecr.cn-north-1.amazonaws.com.cn",
            "2.13-cpu-amzn2023-sagemaker",
        ),
    ],
)
def test_region_and_instance_type_decide_on_the_image_of_a_job(region, instance_type, registry, tag):
    assert environment(region=region).image_for_training(instance_type) == f"{registry}/pytorch:{tag}"


@pytest.mark.parametrize(("device", "tag"), [("cpu", "2.6.0-cpu-py312"), ("gpu", "2.6.0-gpu-py312")])
def test_an_endpoint_has_an_image_for_each_device(device, tag):
    expected = f"871362719292.dkr.ecr.ap-east-1.amazonaws.com/pytorch-inference:{tag}"
    assert images.image(images.INFERENCE, device, "ap-east-1") == expected


def test_an_image_of_ones_own_is_taken_for_whatever_it_is_named_for():
    env = environment(training_image=MINE)
    assert env.image_for_training("ml.m5.xlarge") == env.image_for_training("ml.g5.xlarge") == MINE


def test_a_region_that_is_not_in_the_table_is_refused_with_one_sentence():
    with pytest.raises(ConfigError) as refused:
        environment(region="eu-nowhere-1", training_image=MINE)
    assert str(refused.value) == (
        "Airflow Variable musher: region is 'eu-nowhere-1', where no account with AWS's images is known (images.json "
        "has 37 regions): choose another region, or name both training_image and inference_image."
    )
    # The region's account is of no interest to whoever brings both.
    assert environment(region="eu-nowhere-1", training_image=MINE, inference_image=MINE).region == "eu-nowhere-1"


@pytest.mark.parametrize(
    ("instance_type", "processor"),
    [
        *[(f"ml.{each}", "gpu") for each in ("g4dn.xlarge", "g6e.2xlarge", "p3dn.24xlarge", "p6-b200.48xlarge")],
        *[(f"ml.{each}", "cpu") for each in ("m5.xlarge", "t3.medium", "c7i-flex.large", "c5n.xlarge", "r8i.large")],
        *[(f"ml.{each}", "arm") for each in ("c7g.xlarge", "m6gd.large", "c6gn.large", "p6e-gb200.36xlarge")],
        *[(f"ml.{each}", "neuron") for each in ("inf1.xlarge", "inf2.xlarge", "trn1n.32xlarge", "trn2.48xlarge")],
        ("ml.dl1.24xlarge", "gaudi"),
    ],
)  # fmt: skip
def test_an_instance_types_name_says_what_computes_in_it(instance_type, processor):
    assert instances.processor(instance_type) == processor


def test_no_type_of_sagemaker_is_of_a_family_that_is_not_understood():
    types = instances.known(instances.TRAINING) | instances.known(instances.ENDPOINT)
    kinds = {re.match("[a-z]+", instances.family(each))[0] for each in types}
    # Another kind of machine: look it up in AWS's naming conventions before it gets the image for CPUs.
    assert kinds == {"c", "m", "r", "t", "g", "p", "inf", "trn", "dl"}


@pytest.mark.parametrize(
    ("config", "field", "instance_type", "parts"),
    [
        (TrainingConfig, "training_instance_type", "ml.trn1.2xlarge", ["no training image here", "Neuron"]),
        (TrainingConfig, "training_instance_type", "ml.p3.2xlarge", ["GPUs are older", "PyTorch 2.13"]),
        (DeploymentConfig, "instance_type", "ml.inf2.xlarge", ["no inference image here", "Neuron"]),
        (DeploymentConfig, "instance_type", "ml.c7g.large", ["ARM", "ml.m5.large"]),
        (DeploymentConfig, "instance_type", "ml.dl1.24xlarge", ["Habana"]),
    ],
)
def test_a_type_without_an_image_is_refused_with_one_sentence(config, field, instance_type, parts):
    with pytest.raises(ConfigError) as refused:
        config.from_params({field: instance_type})
    for part in [f"{field} is {instance_type!r}", *parts]:
        assert part in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_volta_gpu_still_serves():
    assert DeploymentConfig.from_params({"instance_type": "ml.p3.2xlarge"}).instance_type == "ml.p3.2xlarge"


INFERENCE_IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-inference:2.6.0-cpu-py312"


@pytest.mark.parametrize(
    ("image", "today", "sentence"),
    [
        (
            INFERENCE_IMAGE,
            "2026-07-01",
            "AWS's support of the image pytorch-inference:2.6.0-cpu-py312 ended on 2026-06-30: it is not patched any "
            "more; it is AWS's last PyTorch image for inference; what AWS maintains instead is Ray Serve, which asks "
            "for other code.",
        ),
        (INFERENCE_IMAGE, "2026-04-30", ""),
        ("1.dkr.ecr.a/pytorch-training:2.10.0-cpu-py313", "2026-11-22",
         "AWS's support of the image pytorch-training:2.10.0-cpu-py313 ends on 2027-01-21."),
        ("1.dkr.ecr.a/pytorch-training:2.10.0-cpu-py313", "2026-11-21", ""),
        (MINE, "2099-01-01", ""),
    ],
)  # fmt: skip
def test_the_end_of_support_is_said_when_it_is_near_or_over(image, today, sentence):
    assert images.support(image, dt.date.fromisoformat(today)) == sentence


def test_the_table_is_whole():
    for purpose in (images.TRAINING, images.INFERENCE):
        assert set(images.used(purpose).tags) == {instances.CPU, instances.GPU}
    assert len(images.accounts()) == 37
    assert all(len(each) == 12 and each.isdigit() for each in images.accounts().values())


@pytest.mark.parametrize("purpose", [images.TRAINING, images.INFERENCE])
def test_the_image_that_is_used_is_supported(purpose):
    """A warning, not a failure: a date that passes must not stop work on something else.

    `make images`, which the workflow images.yaml runs every week, makes the warning an error, unless images.json says
    why the image is used nevertheless.
    """
    device = instances.CPU
    said = images.support(images.image(purpose, device, "us-east-1"), dt.datetime.now(dt.UTC).date())
    if said:
        beginning = "known: " if images.used(purpose).used_nevertheless else "new: "
        warnings.warn(beginning + said, stacklevel=1)
