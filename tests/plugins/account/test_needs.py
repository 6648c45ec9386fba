"""What a run needs of the account, worked out from its configuration."""

from __future__ import annotations

import pytest
from musher.account import needs
from musher.account.check import trusts
from musher.account.needs import Needs, Served
from musher.config import ComparisonConfig, DeploymentConfig, TrainingConfig


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {("training job", "ml.m5.xlarge"): 2}),  # two trials at a time
        ({"paths": "several", "instance_count": 5}, {("training job", "ml.m5.xlarge"): 5}),
        (
            {"managed_spot": True, "max_parallel_jobs": 3},
            {("spot training job", "ml.m5.xlarge"): 3, ("training job", "ml.m5.xlarge"): 1},
        ),
    ],
)
def test_a_training_needs_its_trials_at_a_time_or_its_instances(given, expected):
    found = needs.training(TrainingConfig(**given))
    assert found.instances == expected
    assert (found.roles, found.images) == ({"training_role_arn": "sagemaker.amazonaws.com"}, ("training_image",))


FLEET = ("endpoint", "ml.m5.large")


@pytest.mark.parametrize(
    ("given", "served", "expected"),
    [
        ({}, None, {FLEET: 3}),  # tried out where it will serve, as far as it may scale
        ({}, Served("ml.m5.large", 2), {FLEET: 3}),  # the rehearsal is more than the second fleet
        ({"max_instances": 1}, Served("ml.m5.large", 4), {FLEET: 4}),
        # A canary takes two of each, so that there is one more of the old ones.
        ({"rehearsal": "never"}, Served("ml.m5.large", 1), {FLEET: 3}),
        ({"rehearsal": "never"}, Served("ml.c5.large", 1), {FLEET: 2, ("endpoint", "ml.c5.large"): 1}),
        ({"rehearsal": "never", "below_two_instances": "all_at_once"}, Served("ml.m5.large", 1), {FLEET: 1}),
    ],
)
def test_a_deployment_needs_the_larger_of_its_rehearsal_and_the_second_fleet(given, served, expected):
    found = needs.deployment(DeploymentConfig(**given), served)
    assert found.instances == expected
    assert found.concurrency == 10


def test_a_comparison_needs_two_instances():
    assert needs.comparison(ComparisonConfig()).instances == {FLEET: 2}


@pytest.mark.parametrize(
    ("instance_type", "spot", "expected"),
    [
        ("m5.xlarge", False, "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"),
        ("t3a.large", True, "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests"),
        ("g5.xlarge", True, "All G and VT Spot Instance Requests"),
        ("p3.2xlarge", False, "Running On-Demand P instances"),
        ("trn1.2xlarge", False, ""),
        ("inf2.xlarge", False, ""),
        ("hpc7a.12xlarge", False, ""),
        ("dl1.24xlarge", True, ""),
    ],
)
def test_the_quota_that_counts_an_instance_of_ec2(instance_type, spot, expected):
    assert needs.quota_of_vcpus(instance_type, spot=spot) == expected


def test_of_two_runs_one_at_a_time_needs_the_larger():
    both = needs.training(TrainingConfig()).with_others(needs.deployment(DeploymentConfig()))
    assert both.instances == {("training job", "ml.m5.xlarge"): 2, FLEET: 3}
    assert len(both.roles) == 4
    assert both.with_others(Needs(ssh=True)).ssh


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ({"Effect": "Allow", "Principal": {"Service": "a.amazonaws.com"}, "Action": "sts:AssumeRole"}, True),
        ({"Effect": "Allow", "Principal": {"Service": ["b", "a.amazonaws.com"]}, "Action": ["sts:AssumeRole"]}, True),
        ({"Effect": "Deny", "Principal": {"Service": "a.amazonaws.com"}, "Action": "sts:AssumeRole"}, False),
        ({"Effect": "Allow", "Principal": {"Service": "b.amazonaws.com"}, "Action": "sts:AssumeRole"}, False),
        ({"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "sts:AssumeRole"}, False),
        ({"Effect": "Allow", "Principal": "*", "Action": "sts:TagSession"}, False),
    ],
)
def test_a_trust_policy_lets_a_service_take_the_role(statement, expected):
    assert trusts({"Statement": [statement]}, "a.amazonaws.com") is expected
    assert trusts({"Statement": statement}, "a.amazonaws.com") is expected
