"""Stacks of CloudFormation: made, brought up to date, waited for and removed, each with one sentence when it fails.

Which stacks there are and what they are for is in tools/infrastructure.py and tools/deployment/.
"""

from __future__ import annotations

import difflib
import functools
import json
import pickle
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from botocore.exceptions import ClientError

FOLDER = Path(__file__).resolve().parents[1] / "infra"
# What CloudFormation can bring up to date; anything else is in motion, or has to be deleted first.
SETTLED = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE"}
# Where a verb ends when it went well; a stack that is gone has no status.
WELL = {"create": {"CREATE_COMPLETE"}, "update": {"UPDATE_COMPLETE"}, "delete": {None, "DELETE_COMPLETE"}}
SAY_SECONDS = 60
BODY_BYTES = 51_200

Client = Callable[[str], Any]


class InfrastructureError(Exception):
    """The stack is not as it was asked for; the message is one sentence for a person."""


@dataclass(frozen=True)
class Waiting:
    """How a stack is waited for: most take two minutes. `say` gets a line a minute while it takes."""

    poll_seconds: float = 2
    minutes: float = 30
    say: Callable[[str], None] | None = None


class Stack:
    """A stack by its name, whether it is there or not.

    Parameters: `client` makes a boto3 client by a service's name.
    """

    def __init__(self, client: Client, name: str, waiting: Waiting | None = None) -> None:
        self.client = client("cloudformation")
        self.name, self.waiting = name, waiting or Waiting()

    def deploy(self, body: str, parameters: Mapping[str, str], project: str) -> bool:
        """Create the stack or bring it up to date; whether anything was asked of CloudFormation.

        The same template and parameters again change nothing. A creation that fails is undone by CloudFormation, an
        update is rolled back. Raises InfrastructureError.
        """
        verb, _ = self.plan(body, parameters)
        if verb:
            self._change(verb, body, parameters, project)
        return bool(verb)

    def plan(self, body: str, parameters: Mapping[str, str]) -> tuple[str, list[str]]:
        """What `deploy` would do: `create`, `update` with what differs, or nothing (`""`).

        Raises InfrastructureError when it would refuse.
        """
        now = self.described()
        if now is None:
            return "create", []
        if now["StackStatus"] not in SETTLED:
            raise InfrastructureError(
                f"The stack {self.name} is {now['StackStatus']}: somebody else is changing it, or an earlier attempt "
                "broke off; wait for the end of it, or delete the stack."
            )
        differs = self._differences(now, body, parameters)
        return ("update" if differs else ""), differs

    def request(self, body: str, parameters: Mapping[str, str], project: str) -> dict[str, Any]:
        """What CloudFormation is told when the stack is to be changed."""
        return {
            "StackName": self.name,
            "TemplateBody": as_sent(body),
            "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            "Capabilities": ["CAPABILITY_NAMED_IAM"],
            "Tags": [{"Key": "project", "Value": project}],
        }

    def delete(self) -> bool:
        """Delete the stack; whether there was one. Raises InfrastructureError."""
        now = self.described()
        if now is None:
            return False
        try:
            self.client.delete_stack(StackName=now["StackId"])
            self._wait("delete", now["StackId"])
        except ClientError as error:
            raise InfrastructureError(f"The stack {self.name} cannot be deleted: {said(error)}") from None
        return True

    def settle(self) -> None:
        """Wait until nobody changes the stack any more, however that ended. Raises InfrastructureError."""
        self._until_settled(self.name)

    def outputs(self) -> dict[str, str]:
        """What the stack gives. Raises InfrastructureError when there is none."""
        found = self.described()
        if found is None:
            raise InfrastructureError(f"There is no stack {self.name}: deploy it first.")
        return {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", ())}

    def resources(self) -> dict[str, str]:
        """The stack's resources: their names in the template, and in AWS."""
        return {
            each["LogicalResourceId"]: each.get("PhysicalResourceId", "")
            for each in self._summaries(self.name)
            if each["LogicalResourceId"]
        }

    def not_made(self, template: Mapping[str, Any], parameters: Mapping[str, str]) -> list[str]:
        """What the template asks for and the stack does not have, as `<name> (<type>)`.

        Nothing on AWS, where a stack is whole or fails. Other implementations of CloudFormation leave out without a
        word what they do not know.
        """
        there = self.resources()
        return [
            f"{name} ({resource['Type']})"
            for name, resource in template["Resources"].items()
            if name not in there and _holds({"Condition": resource.get("Condition")}, template, parameters)
        ]

    def described(self, name: str | None = None) -> dict[str, Any] | None:
        """The stack as CloudFormation describes it; none when it is not there. Raises InfrastructureError."""
        try:
            return self.client.describe_stacks(StackName=name or self.name)["Stacks"][0]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ValidationError" and "does not exist" in str(error):
                return None
            raise InfrastructureError(f"The stack {self.name} cannot be looked at: {said(error)}") from None

    def _differences(self, now: Mapping[str, Any], body: str, given: Mapping[str, str]) -> list[str]:
        """How the stack is not as asked for, in words."""
        there = {each["ParameterKey"]: each["ParameterValue"] for each in now.get("Parameters", ())}
        found = [
            f"{name} is {there.get(name, '')!r}, to be {given.get(name, '')!r}"
            for name in sorted(there.keys() | given.keys())
            if there.get(name) != given.get(name)
        ]
        template = self.client.get_template(StackName=now["StackId"], TemplateStage="Original")["TemplateBody"]
        # boto3 reads a template that is JSON; an older stack may have it as YAML.
        same = (load(template) if isinstance(template, str) else template) == load(body)
        return found if same else ["another template", *found]

    def _change(self, verb: str, body: str, given: Mapping[str, str], project: str) -> None:
        """Create or update the stack, and wait for the end of it."""
        request = self.request(body, given, project)
        try:
            if verb == "create":
                stack = self.client.create_stack(**request, OnFailure="DELETE")["StackId"]
            else:
                stack = self.client.update_stack(**request)["StackId"]
        except ClientError as error:
            if "No updates are to be performed" in str(error):
                return
            raise InfrastructureError(f"CloudFormation does not {verb} the stack {self.name}: {said(error)}") from None
        self._wait(verb, stack)

    def _wait(self, verb: str, stack: str) -> None:
        status = self._until_settled(stack)
        if status not in WELL[verb]:
            failed = self._first_failure(stack)
            raise InfrastructureError(f"CloudFormation could not {verb} the stack {self.name}: {failed}")

    def _until_settled(self, stack: str) -> str | None:
        """The status that the stack ends in. By its id a stack can be looked at when it is deleted as well."""
        began = said_at = time.monotonic()
        while True:
            now = self.described(stack)
            status = now["StackStatus"] if now else None
            # A stack in review was never made: it is no change that comes to an end by itself.
            if status is None or not status.endswith("_IN_PROGRESS") or status == "REVIEW_IN_PROGRESS":
                return status
            waited = time.monotonic() - began
            if waited > self.waiting.minutes * 60:
                raise InfrastructureError(
                    f"The stack {self.name} is still {status} after {self.waiting.minutes:g} minutes; it goes on "
                    "without you: the same command again waits for it."
                )
            if self.waiting.say and time.monotonic() - said_at >= SAY_SECONDS:
                said_at = time.monotonic()
                self.waiting.say(f"{self.name}: {status} for {waited / 60:.0f} min{self._under_way(stack)}")
            time.sleep(self.waiting.poll_seconds)

    def _under_way(self, stack: str) -> str:
        names = [
            f"{each['LogicalResourceId']} ({each['ResourceType']})"
            for each in self._summaries(stack)
            if each["ResourceStatus"].endswith("_IN_PROGRESS")
        ]
        return f", at {', '.join(names)}" if names else ""

    def _summaries(self, stack: str) -> list[dict[str, Any]]:
        pages = self.client.get_paginator("list_stack_resources").paginate(StackName=stack)
        return [each for page in pages for each in page["StackResourceSummaries"]]

    def _first_failure(self, stack: str) -> str:
        """The resource that failed first in the newest operation, and why: the others failed because of it."""
        failed = "it names no reason."
        for page in self.client.get_paginator("describe_stack_events").paginate(StackName=stack):
            for event in page["StackEvents"]:  # newest first
                reason = event.get("ResourceStatusReason", "")
                if event["ResourceStatus"].endswith("_FAILED") and "cancelled" not in reason:
                    failed = f"{event['LogicalResourceId']} ({event['ResourceType']}) failed: {reason}"
                if reason == "User Initiated":
                    return failed
        return failed


def as_sent(body: str) -> str:
    """A template as CloudFormation gets it: as JSON without white space, which means the same in fewer bytes.

    A body has at most 51,200 bytes (CloudFormation API reference, CreateStack, TemplateBody). What is larger would have
    to lie in a bucket, and it is a stack that makes ours. Raises InfrastructureError when it is too large even so.
    """
    sent = json.dumps(load(body), separators=(",", ":"), ensure_ascii=False)
    if len(sent.encode()) > BODY_BYTES:
        raise InfrastructureError(
            f"A template has {len(sent.encode()):,} bytes as it is sent; CloudFormation takes {BODY_BYTES:,}."
        )
    return sent


def load(body: str) -> dict[str, Any]:
    """A template as a dict of the caller's own, CloudFormation's short forms (`!Ref Bucket`) written out."""
    return pickle.loads(_read(body))


@functools.lru_cache(maxsize=8)
def _read(body: str) -> bytes:
    """A deployment loads each of its templates several times, and YAML takes twenty times as long as this."""
    return pickle.dumps(yaml.load(body, Loader=_Loader))  # a safe one


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


def said(error: ClientError) -> str:
    """What AWS answered, with its code."""
    return f"{error.response['Error']['Message']} ({error.response['Error']['Code']})"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """YAML with CloudFormation's tags; by libyaml where PyYAML was built with it, which is ten times as fast."""


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
