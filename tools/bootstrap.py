"""What an account needs before the first run, made in the local AWS by the same template as on AWS."""

from __future__ import annotations

import json
from typing import Any

from tools import infrastructure

REGION = "us-east-1"
PROJECT = "musher"
# Credentials that the local AWS takes for an administrator's; they open nothing anywhere else.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIAMUSHERLOCALADMIN", "AWS_SECRET_ACCESS_KEY": "local"}
SSH_PORT = 22
# What Airflow's workers run as, and the service by which MWAA takes it.
AIRFLOW_ROLE, AIRFLOW_SERVICE = f"{PROJECT}-airflow", "airflow.amazonaws.com"


def prepare_account(client: Any, ssh_port: int = SSH_PORT) -> dict[str, Any]:
    """Deploy infra/musher.yaml; returns the value of Airflow's Variable `musher`. Safe to repeat.

    Parameters: `client` makes a boto3 client by a service's name; `ssh_port` is where EC2 instances listen.
    Raises InfrastructureError.
    """
    parameters = {"ProjectName": PROJECT, "SshCidr": "127.0.0.1/32", "SshPort": ssh_port}
    return {**infrastructure.deploy(client, parameters), "kind": "local", "poll_seconds": 1}


def variable(values: dict[str, Any]) -> str:
    """The Variable as it is stored: the same text for the same values."""
    return json.dumps(values, indent=1, sort_keys=True)
