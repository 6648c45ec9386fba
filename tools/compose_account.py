"""Prepare the account for docker-compose.yaml's Airflow: `python -m tools.compose_account local|aws`.

`local` deploys infra/musher.yaml to the local AWS. `aws` changes nothing in the account: it takes the outputs of the
stack that was deployed there. Either way the values become Airflow's Variable `musher`. Both can be repeated.
"""

from __future__ import annotations

import os
import sys

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from tools import bootstrap, infrastructure


def main(where: str) -> int:
    if where == "aws":
        print('The UI asks for a password: `docker compose logs api-server | grep "Password for user"` says it.')
    try:
        if where == "local":
            values = bootstrap.prepare_account(boto3.client, ssh_port())
        elif os.environ.get("AIRFLOW_VAR_MUSHER"):
            print("The Variable musher comes from AIRFLOW_VAR_MUSHER.")
            return 0
        else:
            values = infrastructure.variable_values(infrastructure.outputs(boto3.client, bootstrap.PROJECT))
    except (infrastructure.InfrastructureError, BotoCoreError, ClientError, OSError) as error:
        print(f"The account is not prepared: {error}", file=sys.stderr)
        return 1
    from airflow.models.variable import Variable

    Variable.set("musher", bootstrap.variable(values), description="Facts of the environment")
    print("The Variable musher is set.")
    return 0


def ssh_port() -> int:
    """Where the local AWS's EC2 instances answer SSH, as it says itself."""
    import requests

    with requests.Session() as session:
        session.trust_env = False
        said = session.get(f"{os.environ['AWS_ENDPOINT_URL']}/_local_aws/health", timeout=30).json()
    return said.get("ssh_port", bootstrap.SSH_PORT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
