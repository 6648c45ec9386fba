"""What AWS's PyTorch training container is started with, here as a process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_aws.environments import pip_variables
from local_aws.training import files

if TYPE_CHECKING:
    from local_aws.aws import LocalAws

ENTRY_POINT = Path(__file__).with_name("entry_point.py")


def command(python: Path) -> list[str]:
    """The command of an instance whose own environment has this Python."""
    return [str(python), str(ENTRY_POINT)]


def environment(
    aws: LocalAws, request: Mapping[str, Any], arn: str, base: Path, host: str, master_port: int, python: Path
) -> dict[str, str]:
    """Variables of one training instance.

    Under network isolation a container has no credentials and no network; here it gets no credentials, no address of
    the local AWS and no package index.
    """
    isolated = bool(request.get("EnableNetworkIsolation"))
    variables = {
        **pip_variables(isolated),
        **(request.get("Environment") or {}),
        "PATH": aws.environments.path(python),
        "HOME": str(base),
        "SAGEMAKER_BASE_DIR": str(base),
        "SAGEMAKER_TRAINING_MODULE": "sagemaker_pytorch_container.training:main",
        "TRAINING_JOB_NAME": request["TrainingJobName"],
        "TRAINING_JOB_ARN": arn,
        "SM_CHECKPOINT_DIR": str(files.checkpoint_folder(request, base)),
        "AWS_REGION": aws.region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "CURRENT_HOST": host,
        # Gloo picks the interface of the host's name otherwise, which need not be loopback.
        "GLOO_SOCKET_IFNAME": "lo" if os.path.isdir("/sys/class/net/lo") else "lo0",
        "LOCAL_AWS_MASTER_PORT": str(master_port),
    }
    if not isolated:
        variables |= {
            "AWS_ENDPOINT_URL": aws.url,
            "AWS_ACCESS_KEY_ID": "LOCALAWSTRAININGROLE",
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_DEFAULT_REGION": aws.region,
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        }
    return variables
