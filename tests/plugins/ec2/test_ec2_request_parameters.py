"""What is asked of EC2, and what a person may ask for."""

from __future__ import annotations

import pytest
from musher import request_parameters
from musher.config import ConfigError, Ec2TrainingConfig, TrainingConfig
from musher.request_parameters.common import given, script_mode

HOST = {"ami": "ami-0123456789abcdef0", "root_device": "/dev/sda1", "instance_type": "m5.xlarge"}


def request(env, run, spot=True, **config):
    filled = env.model_copy(update={"ec2_instance_profile": "musher-ec2", "ec2_security_group": "sg-0abc"})
    return request_parameters.run_instance(
        Ec2TrainingConfig(**config), filled, **HOST, spot=spot, token="a-token-1", name="a-name", run=run
    )


@pytest.mark.parametrize("spot", [True, False])
def test_an_instance_is_what_ec2_accepts(env, run, aws_problems, spot):
    asked = request(env, run, spot, max_life_minutes=7)
    assert aws_problems("ec2", "RunInstances", asked) == []
    assert ("InstanceMarketOptions" in asked) == spot
    # It ends itself, for good, and takes its disk with it.
    assert "shutdown -h +7" in asked["UserData"]
    assert asked["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert asked["BlockDeviceMappings"][0]["Ebs"]["DeleteOnTermination"] is True
    assert asked["MetadataOptions"]["HttpTokens"] == "required"
    tags = {tag["Key"]: tag["Value"] for tag in asked["TagSpecifications"][0]["Tags"]}
    assert {name: tags[name] for name in ("project", "dag", "run")} == run.tags(env.project)


def test_hyperparameters_survive_the_way_through_sagemaker(env):
    values = request_parameters.hyperparameters(
        TrainingConfig(), {"lr": "1e-3", "batch-size": "64"}, flag=True, word="a b"
    )
    assert given(script_mode(env, "train.py", values, distributed=True)) == values


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"max_life_minutes": 0}, "max_life_minutes is 0; it has to be a whole number from 1 to 1440."),
        ({"instance_type": "big one"}, "instance_type is 'big one'; it has to be like m5.xlarge."),
        ({"max_interruption": 1}, "there is no field 'max_interruption'; did you mean max_interruptions?"),
    ],
)
def test_bad_input_is_one_sentence(params, sentence):
    with pytest.raises(ConfigError) as error:
        Ec2TrainingConfig.from_params(params)
    assert str(error.value) == sentence
