"""What a person may choose for training on EC2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import model_validator

from musher.config import diagnostics
from musher.config.fields import Configuration, option

# Ubuntu 22.04 with NVIDIA's driver and PyTorch; it starts on instances without a GPU as well.
# Source: AWS Deep Learning AMIs developer guide, "DLAMI release notes", the image's own page.
AMI_PARAMETER = "/aws/service/deeplearning/ami/x86_64/oss-nvidia-driver-gpu-pytorch-2.7-ubuntu-22.04/latest/ami-id"


class Ec2TrainingConfig(Configuration):
    """What a person may choose for `train_on_ec2`; what is trained comes from the training run it repeats."""

    training_run: str = option(
        "",
        "Training",
        "Training run to repeat",
        "The run's folder under runs/ in the bucket. Empty: the newest one that has trained.",
        pattern=r"^[A-Za-z0-9.-]*$",
        examples=["scheduled-2026-11-16T04-00-00-00-00-0a1b2c3d"],
    )
    instance_type: str = option(
        "",
        "Instance",
        "Instance type",
        "Empty: the size the training job had on SageMaker (ml.m5.xlarge gives m5.xlarge), so that costs compare.",
        pattern=r"^([a-z0-9-]+\.[a-z0-9-]+)?$",
        examples=["m5.xlarge"],
    )
    spot: bool = option(
        True, "Instance", "Spot", "Spare capacity at a lower price, which AWS may take back at two minutes' notice."
    )
    on_demand_fallback: bool = option(
        True,
        "Instance",
        "Fall back to on demand",
        "Launch on demand when AWS has no Spot capacity. Off: the run fails then.",
    )
    max_interruptions: int = option(
        5,
        "Instance",
        "Maximum interruptions",
        "How often an interrupted instance is replaced before the run fails.",
        ge=0,
        le=100,
    )
    max_life_minutes: int = option(
        120,
        "Instance",
        "Longest life (minutes)",
        "An instance shuts itself down after this long, even if Airflow is gone.",
        ge=1,
        le=1440,
    )
    volume_gb: int = option(
        100, "Instance", "Disk (GB)", "Root disk: the image alone takes some 60 GB.", ge=8, le=16_384
    )
    ami_parameter: str = option(
        AMI_PARAMETER,
        "Instance",
        "Image",
        "The public SSM parameter that names the Deep Learning AMI.",
        pattern=r"^/aws/service/\S+$",
        examples=[AMI_PARAMETER],
    )
    ssh_wait_seconds: int = option(
        600,
        "Instance",
        "Longest wait for SSH (seconds)",
        "How long a new instance may take to answer, and how long one may stay silent, before the run fails.",
        ge=5,
        le=3600,
    )
    on_issue: Mapping[str, str] = diagnostics.on_issue_option()
    max_remedies: int = diagnostics.max_remedies_option()
    max_cost_usd: float = option(
        25.0, "Cost", "Maximum cost (USD)", "A run whose projected cost is higher launches nothing.", ge=0
    )

    @model_validator(mode="after")
    def _issues_are_known(self) -> Self:
        diagnostics.check(self.on_issue)
        return self
