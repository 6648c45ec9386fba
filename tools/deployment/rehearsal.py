"""What AWS would answer to the writes of a deployment, and to reads of what these would have changed.

Nothing here is an account's truth: a dry run shows which calls are made and in which order. What only AWS knows is in
angle brackets, or an id of zeros where the next call has to have one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tools.cloudformation import load
from tools.deployment.settings import UNKNOWN_SUBNETS, UNKNOWN_VPC

ENVIRONMENT = "AWS::MWAA::Environment"
IDS = {"VpcId": UNKNOWN_VPC, "SubnetIds": ",".join(UNKNOWN_SUBNETS)}


class Rehearsal:
    """Answers calls; remembers the stacks that would have been changed."""

    def __init__(self) -> None:
        self._made: dict[str, dict[str, Any]] = {}
        self._deleted: set[str] = set()

    def answer(self, service: str, operation: str, given: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer to a call; none where nothing is to be answered, which for a read means: ask AWS."""
        method = getattr(self, f"_{service.replace('-', '_')}_{operation}", None)
        return method(given) if method else None

    def _cloudformation_CreateStack(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return self._change(given, "CREATE_COMPLETE")

    def _cloudformation_UpdateStack(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return self._change(given, "UPDATE_COMPLETE")

    def _change(self, given: Mapping[str, Any], status: str) -> dict[str, Any]:
        name = given["StackName"]
        self._made[name] = {
            "status": status,
            "template": load(given["TemplateBody"]),
            "parameters": {each["ParameterKey"]: each["ParameterValue"] for each in given["Parameters"]},
        }
        self._deleted.discard(name)
        return {"StackId": name}

    def _cloudformation_DeleteStack(self, given: Mapping[str, Any]) -> dict[str, Any]:
        self._deleted |= {given["StackName"], _name(given["StackName"])}
        return {}

    def _cloudformation_DescribeStacks(self, given: Mapping[str, Any]) -> dict[str, Any] | None:
        name = given["StackName"]
        if name in self._deleted:
            return {"Stacks": [{"StackName": name, "StackStatus": "DELETE_COMPLETE"}]}
        if name not in self._made:
            return None
        made = self._made[name]
        outputs = [
            {"OutputKey": key, "OutputValue": _value(key, output["Value"], made["parameters"])}
            for key, output in made["template"]["Outputs"].items()
        ]
        return {"Stacks": [{"StackName": name, "StackStatus": made["status"], "Outputs": outputs}]}

    def _cloudformation_ListStackResources(self, given: Mapping[str, Any]) -> dict[str, Any] | None:
        if given["StackName"] not in self._made:
            return None
        resources = self._made[given["StackName"]]["template"]["Resources"]
        listed = [
            {"LogicalResourceId": name, "PhysicalResourceId": f"<{name}>", "ResourceStatus": "CREATE_COMPLETE"}
            for name in resources
        ]
        return {"StackResourceSummaries": listed}

    def _mwaa_GetEnvironment(self, given: Mapping[str, Any]) -> dict[str, Any] | None:
        """The environment as the changed stack asks for it."""
        for stack in self._made.values():
            if any(each["Type"] == ENVIRONMENT for each in stack["template"]["Resources"].values()):
                parameters = stack["parameters"]
                versions = {
                    f"{what}S3{of}": parameters[f"{what}{given_as}"]
                    for what in ("Plugins", "Requirements")
                    for of, given_as in (("Path", "Path"), ("ObjectVersion", "Version"))
                }
                return {"Environment": {"Status": "AVAILABLE", "WebserverUrl": "<the environment's>", **versions}}
        return None

    def _s3_PutObject(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return {"VersionId": f"<version of {given['Key']}>"}


def _name(stack: str) -> str:
    """A stack's name from its id: `arn:aws:cloudformation:<region>:<account>:stack/<name>/<uuid>`."""
    return stack.split("/")[1] if "/" in stack else stack


def _value(output: str, value: Any, parameters: Mapping[str, str]) -> str:
    """What an output would be: a parameter's value where it is one, an id of zeros where the next stack needs one."""
    if isinstance(value, dict) and value.get("Ref") in parameters:
        return parameters[value["Ref"]]
    return IDS.get(output, f"<{output}>")
