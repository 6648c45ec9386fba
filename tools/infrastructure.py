"""The stack of infra/musher.yaml, made, brought up to date and removed: what the DAGs need in an account.

    python -m tools.infrastructure deploy SshCidr=10.0.0.0/16 BudgetMail=me@example.com
    python -m tools.infrastructure delete [--empty-bucket]

Both can be repeated. `deploy` prints the value of Airflow's Variable `musher`. Account and region are boto3's own
choice (AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL...).
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from botocore.exceptions import BotoCoreError, ClientError, WaiterError

TEMPLATE = Path(__file__).resolve().parents[1] / "infra/musher.yaml"
# Outputs that are no fields of the Variable `musher`.
NOT_IN_VARIABLE = {"AirflowRoleArn"}
NUMBERS = {"ssh_port"}
# What CloudFormation can bring up to date; anything else is in motion, or has to be deleted first.
SETTLED = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE"}
# Most stacks take two minutes; the waiter's own limits are hours.
WAITING = {"Delay": 2, "MaxAttempts": 900}

Client = Callable[[str], Any]


class InfrastructureError(Exception):
    """The stack is not as it was asked for; the message is one sentence for a person."""


def deploy(client: Client, parameters: Mapping[str, object]) -> dict[str, Any]:
    """Create the stack or bring it up to date; the values of Airflow's Variable `musher`.

    The same parameters again change nothing. A creation that fails is undone by CloudFormation, an update is rolled
    back.

    Parameters: `client` makes a boto3 client by a service's name; `parameters` of the template, without those that
    stay at their defaults. The stack has the project's name.
    Raises InfrastructureError.
    """
    body = TEMPLATE.read_text()
    given = checked(parameters, load(body))
    cloudformation, name = client("cloudformation"), given["ProjectName"]
    now = _stack(cloudformation, name)
    if now is None:
        _change(cloudformation, "create", name, body, given)
    elif now["StackStatus"] not in SETTLED:
        raise InfrastructureError(
            f"The stack {name} is {now['StackStatus']}: somebody else is changing it, or an earlier attempt broke off; "
            "wait for the end of it, or delete the stack."
        )
    elif not _is_as_asked_for(cloudformation, now, body, given):
        _change(cloudformation, "update", name, body, given)
    return variable_values(outputs(client, name))


def delete(client: Client, project: str, *, empty_bucket: bool = False) -> bool:
    """Delete the project's stack with everything in it; whether there was one.

    The bucket's objects, all versions of them, are deleted only with `empty_bucket`.
    Raises InfrastructureError, before anything is deleted when the bucket is what stands in the way.
    """
    cloudformation = client("cloudformation")
    now = _stack(cloudformation, project)
    if now is None:
        return False
    bucket = _resources(cloudformation, project).get("Bucket")
    if bucket and empty_bucket:
        _empty(client("s3"), bucket)
    elif bucket and next(_versions(client("s3"), bucket), None):
        raise InfrastructureError(
            f"The bucket {bucket} is not empty, and nothing was deleted: data sets, models and records would go with "
            "the stack; ask for empty_bucket to delete them too."
        )
    try:
        cloudformation.delete_stack(StackName=now["StackId"])
        _wait(cloudformation, "delete", now["StackId"])
    except ClientError as error:
        raise InfrastructureError(f"The stack {project} cannot be deleted: {_said(error)}") from None
    return True


def outputs(client: Client, project: str) -> dict[str, str]:
    """What the project's stack gives. Raises InfrastructureError when there is no stack."""
    found = _stack(client("cloudformation"), project)
    if found is None:
        raise InfrastructureError(f"There is no stack {project}: deploy it first.")
    return {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", ())}


def variable_values(outputs: Mapping[str, str]) -> dict[str, Any]:
    """The Variable `musher` from the stack's outputs: `TrainingRoleArn` is its `training_role_arn`."""
    values: dict[str, Any] = {}
    for name, value in outputs.items():
        if name not in NOT_IN_VARIABLE:
            field = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
            values[field] = int(value) if field in NUMBERS else value
    return values


def not_made(client: Client, parameters: Mapping[str, object]) -> list[str]:
    """What the template asks for and the stack does not have, as `<name> (<type>)`.

    Nothing on AWS, where a stack is whole or fails. Other implementations of CloudFormation leave out without a word
    what they do not know.
    """
    template = load(TEMPLATE.read_text())
    given = checked(parameters, template)
    there = _resources(client("cloudformation"), given["ProjectName"])
    return [
        f"{name} ({resource['Type']})"
        for name, resource in template["Resources"].items()
        if name not in there and _holds({"Condition": resource.get("Condition")}, template, given)
    ]


def load(body: str) -> dict[str, Any]:
    """A template as a dict, CloudFormation's short forms (`!Ref Bucket`) written out."""
    return yaml.load(body, Loader=_Loader)  # a safe one


def checked(parameters: Mapping[str, object], template: Mapping[str, Any]) -> dict[str, str]:
    """Every parameter of the template as text, defaults filled in, against the template's own constraints.

    CloudFormation checks them as well, but not every implementation does, and its answer names one at a time.
    Raises InfrastructureError.
    """
    known = template["Parameters"]
    for name in parameters:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
            raise InfrastructureError(f"The template has no parameter {name}; the nearest is {near}.")
    values = {}
    for name, rule in known.items():
        value = parameters.get(name, rule.get("Default"))
        if value is None:
            raise InfrastructureError(f"The parameter {name} is missing: {rule['Description']}")
        values[name] = str(value)
        if wrong := _wrong(values[name], rule):
            raise InfrastructureError(f"The parameter {name} is {values[name]!r}, and it {wrong}")
    return values


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's tags."""


def _written_out(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if name == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}


_Loader.add_multi_constructor("!", _written_out)


def _wrong(value: str, rule: Mapping[str, Any]) -> str:
    """What is wrong with a parameter's value, as the end of a sentence; empty when nothing is."""
    if rule["Type"] == "Number":
        try:
            number = float(value)
        except ValueError:
            return "has to be a number."
        if not rule.get("MinValue", number) <= number <= rule.get("MaxValue", number):
            most = f" and at most {rule['MaxValue']}" if "MaxValue" in rule else ""
            return f"has to be at least {rule['MinValue']}{most}."
    allowed = [str(each) for each in rule.get("AllowedValues", ())]
    if allowed and value not in allowed:
        return f"has to be one of {', '.join(allowed)}."
    fits = re.fullmatch(rule.get("AllowedPattern", ".*"), value) and len(value) <= rule.get("MaxLength", len(value))
    return "" if fits else f"is accepted only if it {rule['ConstraintDescription']}"


def _holds(condition: Any, template: Mapping[str, Any], parameters: Mapping[str, str]) -> bool:
    """Whether one of the template's conditions holds: those of equality and negation."""
    ((kind, value),) = condition.items()
    if kind == "Condition":
        return value is None or _holds(template["Conditions"][value], template, parameters)
    if kind == "Fn::Not":
        return not _holds(value[0], template, parameters)
    if kind == "Fn::Equals":
        left, right = (parameters[each["Ref"]] if isinstance(each, dict) else str(each) for each in value)
        return left == right
    raise ValueError(f"the condition {kind} is not known here")


def _stack(cloudformation: Any, name: str) -> dict[str, Any] | None:
    try:
        return cloudformation.describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ValidationError" and "does not exist" in str(error):
            return None
        raise InfrastructureError(f"The stack {name} cannot be looked at: {_said(error)}") from None


def _resources(cloudformation: Any, name: str) -> dict[str, str]:
    """The stack's resources: their names in the template, and in AWS."""
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
    found = [each for page in pages for each in page["StackResourceSummaries"]]
    return {
        each["LogicalResourceId"]: each.get("PhysicalResourceId", "") for each in found if each["LogicalResourceId"]
    }


def _is_as_asked_for(cloudformation: Any, now: Mapping[str, Any], body: str, given: Mapping[str, str]) -> bool:
    there = {each["ParameterKey"]: each["ParameterValue"] for each in now.get("Parameters", ())}
    if there != given:
        return False
    return cloudformation.get_template(StackName=now["StackId"], TemplateStage="Original")["TemplateBody"] == body


def _change(cloudformation: Any, verb: str, name: str, body: str, given: Mapping[str, str]) -> None:
    """Create or update the stack, and wait for the end of it."""
    request: dict[str, Any] = {
        "StackName": name,
        "TemplateBody": body,
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
        "Capabilities": ["CAPABILITY_NAMED_IAM"],
        "Tags": [{"Key": "project", "Value": name}],
    }
    if verb == "create":
        request["OnFailure"] = "DELETE"
    try:
        stack = getattr(cloudformation, f"{verb}_stack")(**request)["StackId"]
    except ClientError as error:
        if "No updates are to be performed" in str(error):
            return
        if verb == "create" and not _is_aws(cloudformation):
            # AWS has made nothing then; moto leaves what it had made so far, in a stack that it cannot describe.
            with contextlib.suppress(ClientError):
                cloudformation.delete_stack(StackName=name)
        raise InfrastructureError(f"CloudFormation does not {verb} the stack {name}: {_said(error)}") from None
    _wait(cloudformation, verb, stack)


def _is_aws(client: Any) -> bool:
    return bool(re.search(r"\.(amazonaws\.com(\.cn)?|api\.aws)$", client.meta.endpoint_url))


def _wait(cloudformation: Any, verb: str, stack: str) -> None:
    try:
        cloudformation.get_waiter(f"stack_{verb}_complete").wait(StackName=stack, WaiterConfig=WAITING)
    except WaiterError:
        name = stack.split("/")[1] if "/" in stack else stack
        failed = _first_failure(cloudformation, stack)
        raise InfrastructureError(f"CloudFormation could not {verb} the stack {name}: {failed}") from None


def _first_failure(cloudformation: Any, stack: str) -> str:
    """The resource that failed first in the newest operation, and why: the others failed because of it."""
    failed = "it names no reason, or took too long."
    for page in cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack):
        for event in page["StackEvents"]:  # newest first
            reason = event.get("ResourceStatusReason", "")
            if event["ResourceStatus"].endswith("_FAILED") and "cancelled" not in reason:
                failed = f"{event['LogicalResourceId']} ({event['ResourceType']}) failed: {reason}"
            if reason == "User Initiated":
                return failed
    return failed


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


def _said(error: ClientError) -> str:
    return f"{error.response['Error']['Message']} ({error.response['Error']['Code']})"


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
