"""What AWS's PyTorch training container is started with, here as a process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_aws.environments import pip_variables
from local_aws.processes import opt
from local_aws.training import files

if TYPE_CHECKING:
    from local_aws.aws import LocalAws

ENTRY_POINT = Path(__file__).with_name("entry_point.py")


def command(specification: Mapping[str, Any], python: Path, base: Path) -> list[str]:
    """The command of an instance whose own environment has this Python, and whose /opt/ml is `base`."""
    own = specification.get("ContainerEntrypoint")
    if own:
        run = [*own, *(specification.get("ContainerArguments") or ())]
        return opt.Opt(base.with_name(f"{base.name}.opt"), first={"ml": base}).command(run, Path("/opt/ml/code"))
    return [str(python), str(ENTRY_POINT)]


def refusal(specification: Mapping[str, Any]) -> str | None:
    """Why the entry point of a request cannot be started here; None when it can."""
    if specification.get("ContainerEntrypoint"):
        return _no_namespaces()
    if specification.get("ContainerArguments"):
        return (
            "AlgorithmSpecification.ContainerArguments: the entry point of AWS's PyTorch image takes none; give "
            "ContainerEntrypoint as well."
        )
    return None


def _no_namespaces() -> str | None:
    """An entry point of one's own finds its files below /opt/ml, which takes mounts of its own."""
    said = opt.refusal()
    if said is None:
        return None
    return (
        "AlgorithmSpecification.ContainerEntrypoint: the local AWS runs one in a user namespace of its own, which this "
        f"system does not allow ({said})."
    )


def environment(
    aws: LocalAws, request: Mapping[str, Any], arn: str, base: Path, host: str, master_port: int, python: Path
) -> dict[str, str]:
    """Variables of one training instance.

    Under network isolation a container has no credentials and no network; here it gets no credentials, no address of
    the local AWS and no package index.
    """
    isolated = bool(request.get("EnableNetworkIsolation"))
    own = bool(request["AlgorithmSpecification"].get("ContainerEntrypoint"))
    variables = {
        **pip_variables(isolated),
        **(request.get("Environment") or {}),
        "PATH": aws.environments.path(python),
        "HOME": str(base),
        "TRAINING_JOB_NAME": request["TrainingJobName"],
        "TRAINING_JOB_ARN": arn,
        "AWS_REGION": aws.region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "CURRENT_HOST": host,
        # Gloo picks the interface of the host's name otherwise, which need not be loopback.
        "GLOO_SOCKET_IFNAME": "lo" if os.path.isdir("/sys/class/net/lo") else "lo0",
        "LOCAL_AWS_MASTER_PORT": str(master_port),
    }
    if not own:
        variables |= {
            "SAGEMAKER_BASE_DIR": str(base),
            "SAGEMAKER_TRAINING_MODULE": "sagemaker_pytorch_container.training:main",
            "SM_CHECKPOINT_DIR": str(files.checkpoint_folder(request, base)),
        }
    if not isolated:
        # AWS's are at another address, of which SDKs know the beginning: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI.
        offer = aws.iam.sessions.offer(request["RoleArn"], "sagemaker.amazonaws.com", "SageMaker", owner=arn)
        variables |= {
            "AWS_ENDPOINT_URL": aws.url,
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": aws.url + offer,
            "AWS_DEFAULT_REGION": aws.region,
            "AWS_DISABLE_HOST_PREFIX_INJECTION": "true",
        }
    return variables
