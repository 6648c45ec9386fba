"""Change sets: what CloudFormation itself says that it would do to a stack. None is ever executed.

Source: AWS CloudFormation user guide, "Update CloudFormation stacks using change sets".
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import ClientError

from tools.cloudformation import InfrastructureError, Stack, said

# Besides reads, what looking at change sets sends.
WRITES = frozenset({"CreateChangeSet", "DeleteChangeSet", "DeleteStack"})
# How CloudFormation says that a change set would have nothing in it.
EMPTY = ("didn't contain changes", "No updates are to be performed")
WORDS = {"Add": "adds", "Modify": "changes", "Remove": "removes", "Import": "imports"}
REPLACED = {"True": ", by making another one in its place", "Conditional": ", perhaps by another one in its place"}


def changes(stack: Stack, verb: str, body: str, parameters: Mapping[str, str], project: str) -> list[str]:
    """What CloudFormation would do, a line a resource; nothing when it finds no difference.

    Parameters: `verb` is `create` or `update`. The change set is made, read and removed again, and with it the empty
    stack in review that CloudFormation makes for one of a stack that is not there.
    Raises InfrastructureError when CloudFormation does not take template or parameters.
    """
    with _change_set(stack, verb, body, parameters, project) as made:
        described = _settled(stack, made)
        if described["Status"] == "FAILED":
            reason = described.get("StatusReason", "it names no reason.")
            if any(each in reason for each in EMPTY):
                return []
            raise InfrastructureError(f"CloudFormation would not {verb} the stack {stack.name}: {reason}")
        return [_line(each["ResourceChange"]) for each in _all_changes(stack, made) if "ResourceChange" in each]


@contextlib.contextmanager
def _change_set(
    stack: Stack, verb: str, body: str, parameters: Mapping[str, str], project: str
) -> Iterator[dict[str, str]]:
    """A change set by its `ChangeSetName` and `StackName`, removed again whatever happens."""
    name = f"dry-run-{uuid.uuid4().hex[:12]}"
    request = stack.request(body, parameters, project)
    try:
        answer = stack.client.create_change_set(**request, ChangeSetName=name, ChangeSetType=verb.upper())
    except ClientError as error:
        raise InfrastructureError(f"CloudFormation would not {verb} the stack {stack.name}: {said(error)}") from None
    made = {"ChangeSetName": answer["Id"], "StackName": answer["StackId"]}
    try:
        yield made
    finally:
        stack.client.delete_change_set(**made)
        # Never one with anything in it: only what was made for this change set is in review.
        now = stack.described(answer["StackId"])
        if verb == "create" and now and now["StackStatus"] == "REVIEW_IN_PROGRESS":
            stack.client.delete_stack(StackName=answer["StackId"])


def _settled(stack: Stack, made: Mapping[str, str]) -> dict[str, Any]:
    """The change set when CloudFormation has made up its mind."""
    began = time.monotonic()
    while True:
        described = stack.client.describe_change_set(**made)
        if described["Status"] in ("CREATE_COMPLETE", "FAILED"):
            return described
        if time.monotonic() - began > stack.waiting.minutes * 60:
            raise InfrastructureError(
                f"The change set of the stack {stack.name} is still {described['Status']} after "
                f"{stack.waiting.minutes:g} minutes."
            )
        time.sleep(stack.waiting.poll_seconds)


def _all_changes(stack: Stack, made: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for page in stack.client.get_paginator("describe_change_set").paginate(**made):
        yield from page.get("Changes", ())


def _line(change: Mapping[str, Any]) -> str:
    """`changes Bucket (AWS::S3::Bucket), by making another one in its place`."""
    how = REPLACED.get(change.get("Replacement", ""), "")
    action = WORDS.get(change["Action"], change["Action"])
    return f"{action} {change['LogicalResourceId']} ({change['ResourceType']}){how}"
