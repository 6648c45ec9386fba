"""The stack of infra/musher.yaml, made, brought up to date and removed: what the DAGs need in an account.

    python -m tools.infrastructure deploy SshCidr=10.0.0.0/16 BudgetMail=me@example.com
    python -m tools.infrastructure delete [--empty-bucket]

Both can be repeated. `deploy` prints the value of Airflow's Variable `musher`. Account and region are boto3's own
choice (AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL...). With Airflow on MWAA, `make deploy` (tools/deployment/) does this
and the rest.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tools.cloudformation import FOLDER, Client, InfrastructureError, Stack, Waiting, checked, load

TEMPLATE = FOLDER / "musher.yaml"
# Outputs that are no fields of the Variable `musher`.
NOT_IN_VARIABLE = {"AirflowRoleArn"}
NUMBERS = {"ssh_port"}


def deploy(client: Client, parameters: Mapping[str, object], waiting: Waiting | None = None) -> dict[str, Any]:
    """Create the stack or bring it up to date; the values of Airflow's Variable `musher`.

    The same parameters again change nothing. A creation that fails is undone by CloudFormation, an update is rolled
    back.

    Parameters: `client` makes a boto3 client by a service's name; `parameters` of the template, without those that
    stay at their defaults. The stack has the project's name.
    Raises InfrastructureError.
    """
    body = TEMPLATE.read_text()
    given = checked(parameters, load(body))
    stack = Stack(client, given["ProjectName"], waiting)
    stack.deploy(body, given, given["ProjectName"])
    return variable_values(stack.outputs())


def delete(client: Client, project: str, *, empty_bucket: bool = False, waiting: Waiting | None = None) -> bool:
    """Delete the project's stack with everything in it; whether there was one.

    The bucket's objects, all versions of them, are deleted only with `empty_bucket`.
    Raises InfrastructureError, before anything is deleted when the bucket is what stands in the way.
    """
    stack = Stack(client, project, waiting)
    if stack.described() is None:
        return False
    bucket = stack.resources().get("Bucket")
    if bucket and empty_bucket:
        _empty(client("s3"), bucket)
    elif bucket and not is_empty(client, bucket):
        raise InfrastructureError(
            f"The bucket {bucket} is not empty, and nothing was deleted: data sets, models and records would go with "
            "the stack; ask for empty_bucket to delete them too."
        )
    return stack.delete()


def outputs(client: Client, project: str) -> dict[str, str]:
    """What the project's stack gives. Raises InfrastructureError when there is no stack."""
    return Stack(client, project).outputs()


def variable_values(outputs: Mapping[str, str]) -> dict[str, Any]:
    """The Variable `musher` from the stack's outputs: `TrainingRoleArn` is its `training_role_arn`."""
    values: dict[str, Any] = {}
    for name, value in outputs.items():
        if name not in NOT_IN_VARIABLE:
            field = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
            values[field] = int(value) if field in NUMBERS else value
    return values


def not_made(client: Client, parameters: Mapping[str, object]) -> list[str]:
    """What the template asks for and the stack does not have, as `<name> (<type>)`; nothing on AWS."""
    template = load(TEMPLATE.read_text())
    given = checked(parameters, template)
    return Stack(client, given["ProjectName"]).not_made(template, given)


def is_empty(client: Client, bucket: str) -> bool:
    """Whether a bucket has no object, no old version of one, and no delete marker."""
    return next(_versions(client("s3"), bucket), None) is None


def _versions(s3: Any, bucket: str) -> Iterator[dict[str, str]]:
    """Every version of every object, and every delete marker."""
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for each in [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]:
            yield {"Key": each["Key"], "VersionId": each["VersionId"]}


def _empty(s3: Any, bucket: str) -> None:
    found = list(_versions(s3, bucket))
    for start in range(0, len(found), 1000):  # as many as S3 takes at once
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": found[start : start + 1000], "Quiet": True})
        for error in answer.get("Errors", ()):
            raise InfrastructureError(
                f"The bucket {bucket} cannot be emptied: {error['Key']}: {error['Message']} ({error['Code']})."
            )


def main(arguments: list[str] | None = None) -> int:
    import boto3

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("deploy", help="create the stack or bring it up to date")
    making.add_argument("parameters", nargs="*", metavar="NAME=VALUE", help="parameters of infra/musher.yaml")
    ending = commands.add_parser("delete", help="delete the stack and what is in it")
    ending.add_argument("project", nargs="?", default="musher")
    ending.add_argument("--empty-bucket", action="store_true", help="delete everything in the bucket as well")
    given = parser.parse_args(arguments)
    try:
        if given.command == "delete":
            there = delete(boto3.client, given.project, empty_bucket=given.empty_bucket)
            print(f"The stack {given.project} is deleted." if there else f"There is no stack {given.project}.")
            return 0
        wrong = [each for each in given.parameters if "=" not in each]
        if wrong:
            raise InfrastructureError(f"{wrong[0]!r} is no parameter: it has to look like SshCidr=10.0.0.0/16.")
        parameters = dict(each.split("=", 1) for each in given.parameters)
        print(json.dumps(deploy(boto3.client, parameters), indent=1, sort_keys=True))
        for each in not_made(boto3.client, parameters):
            print(f"Not made by this CloudFormation: {each}", file=sys.stderr)
    except (InfrastructureError, BotoCoreError, ClientError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
