"""CloudFormation: stacks are made, changed and deleted here; moto keeps and describes them."""

from __future__ import annotations

import sys
from typing import Any

from local_aws.errors import AwsError, of_moto
from local_aws.services.base import RESTARTED, Call, Service
from local_aws.stacks.requests import (
    backend_of,
    check_template,
    find,
    moto_side,
    offset,
    parameters_of,
    stack_of,
    tags_of,
    template_of,
)
from local_aws.stacks.running import BROKEN_OFF, Runner
from local_aws.stacks.template import invalid, read


class CloudFormation(Service):
    """Stacks and their resources. A call returns when nothing more can be done without waiting; the rest goes on then.

    Source: AWS CloudFormation API reference.
    """

    name = "cloudformation"

    def __init__(self, aws) -> None:
        super().__init__(aws)
        self.runner = Runner(aws)
        self._callers: Any = None

    def start(self) -> None:
        models = sys.modules.get("moto.cloudformation.models")
        for _, _, backend in models.cloudformation_backends.iter_backends() if models else ():
            for stack in backend.stacks.values():
                if stack.status in BROKEN_OFF and hasattr(stack, "say"):
                    stack.say(BROKEN_OFF[stack.status], f"{RESTARTED} meanwhile")

    def stop(self) -> None:
        self.runner.stop()

    # --- stacks

    def create_stack(self, call: Call) -> dict[str, Any]:
        params, moto = call.params, moto_side()
        backend = backend_of(call)
        if params.get("DisableRollback") and params.get("OnFailure"):
            raise invalid("Either DisableRollback or OnFailure can be specified, not both.")
        on_failure = "DO_NOTHING" if params.get("DisableRollback") else params.get("OnFailure", "ROLLBACK")
        text, given = template_of(call), parameters_of(params)
        check_template(text, given, params)
        found = find(backend, params["StackName"])
        if found is not None and found.status == "REVIEW_IN_PROGRESS":
            raise invalid(f"Stack [{params['StackName']}] already exists and is in REVIEW_IN_PROGRESS state.")
        if found is not None:
            raise AwsError("AlreadyExistsException", f"Stack [{params['StackName']}] already exists")
        rights = self.rights(call)
        with of_moto():
            stack = moto.Stack(
                stack_id=moto.generate_stack_id(params["StackName"], call.region, call.account),
                name=params["StackName"],
                role_arn=params.get("RoleARN"),
                template=text,
                parameters=given,
                account_id=call.account,
                region_name=call.region,
                notification_arns=params.get("NotificationARNs"),
                tags=tags_of(params),
                enable_termination_protection=bool(params.get("EnableTerminationProtection")),
            )
        stack.disable_rollback, stack.capabilities = on_failure == "DO_NOTHING", params.get("Capabilities") or []
        backend.stacks[stack.stack_id] = stack
        self.runner.run(stack, rights, lambda change: change.create(on_failure))
        return {"StackId": stack.stack_id}

    def update_stack(self, call: Call) -> dict[str, Any]:
        params = call.params
        stack = stack_of(call)
        self.runner.check(stack)
        text = stack.template if params.get("UsePreviousTemplate") else template_of(call)
        given = parameters_of(params, stack)
        check_template(text, given, params)
        tags = tags_of(params) if params.get("Tags") else None
        same_tags = tags is None or tags == stack.tags
        with of_moto():
            resources = stack.resources_of(text, given)
        if read(text) == stack.template_dict and resources.resolved_parameters == stack.stack_parameters and same_tags:
            raise invalid("No updates are to be performed.")
        rights = self.rights(call, stack)
        if "NotificationARNs" in params:
            stack.notification_arns = params["NotificationARNs"]
        stack.capabilities = params.get("Capabilities") or []
        roll_back = not params.get("DisableRollback")
        self.runner.run(stack, rights, lambda change: change.update(text, given, tags, roll_back))
        return {"StackId": stack.stack_id}

    def delete_stack(self, call: Call) -> None:
        backend, name = backend_of(call), call.params["StackName"]
        stack = find(backend, name)
        if stack is None:
            return
        if stack.enable_termination_protection:
            raise invalid(
                f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled on the stack."
            )
        retained = call.params.get("RetainResources") or []
        if retained and stack.status != "DELETE_FAILED":
            raise invalid(
                "Invalid operation on stack: RetainResources can only be given when the stack is DELETE_FAILED."
            )
        if stack.status == "DELETE_IN_PROGRESS":
            return
        if stack.status.startswith("UPDATE") and stack.status.endswith("_IN_PROGRESS"):
            raise invalid(f"Stack [{stack.name}] cannot be deleted while in status {stack.status}")
        rights = self.rights(call, stack)
        for each in [each for each, found in backend.change_sets.items() if found.stack is stack]:
            del backend.change_sets[each]
        self.runner.cancel(stack)
        self.runner.run(stack, rights, lambda change: change.delete(retained=retained))

    def update_termination_protection(self, call: Call) -> dict[str, Any]:
        stack = stack_of(call)
        stack.enable_termination_protection = bool(call.params["EnableTerminationProtection"])
        return {"StackId": stack.stack_id}

    # --- resources

    def describe_stack_resource(self, call: Call) -> dict[str, Any]:
        stack, name = stack_of(call, deleted=True), call.params["LogicalResourceId"]
        if name not in stack.ledger:
            raise invalid(f"Resource {name} does not exist for stack {stack.name}")
        entry = stack.ledger[name]
        return {"StackResourceDetail": {"LastUpdatedTimestamp": entry.changed, **_resource(stack, entry)}}

    def describe_stack_resources(self, call: Call) -> dict[str, Any]:
        params, backend = call.params, backend_of(call)
        if params.get("StackName"):
            stack = stack_of(call, deleted=True)
        elif params.get("PhysicalResourceId"):
            wanted = params["PhysicalResourceId"]
            stack = next(
                (each for each in backend.stacks.values() if any(entry.id == wanted for entry in each.ledger.values())),
                None,
            )
            if stack is None:
                raise invalid(f"Stack for {wanted} does not exist")
        else:
            raise invalid("Either StackName or PhysicalResourceId must be specified.")
        wanted = params.get("LogicalResourceId")
        found = [entry for name, entry in stack.ledger.items() if wanted in (None, name)]
        return {"StackResources": [{"Timestamp": each.changed, **_resource(stack, each)} for each in found]}

    def list_stack_resources(self, call: Call) -> dict[str, Any]:
        stack = stack_of(call, deleted=True)
        found = [{"LastUpdatedTimestamp": each.changed, **_resource(stack, each)} for each in stack.ledger.values()]
        size, start = 100, offset(call.params.get("NextToken"))
        answer: dict[str, Any] = {"StackResourceSummaries": found[start : start + size]}
        if start + size < len(found):
            answer["NextToken"] = str(start + size)
        return answer

    # --- inside

    def rights(self, call: Call, stack: Any = None, of_change_set: str | None = None) -> Any:
        """In whose name a stack is changed: a role's that the call gives, or the stack has been given before, or the
        caller's. Raises AwsError.

        AWS: API reference, CreateStack, RoleARN: CloudFormation uses the role for all later operations on the stack.
        """
        from local_aws.stacks.rights import Callers

        if self._callers is None:
            self._callers = Callers(self.aws)
        given = call.params.get("RoleARN") or of_change_set
        rights = self._callers.rights(call.access_key, given or (stack.role_arn if stack is not None else None))
        if given and stack is not None:
            stack.role_arn = given
        return rights


def _resource(stack: Any, entry: Any) -> dict[str, Any]:
    found = {
        "StackName": stack.name,
        "StackId": stack.stack_id,
        "LogicalResourceId": entry.logical_resource_id,
        "ResourceType": entry.cf_resource_type,
        "ResourceStatus": entry.status,
        "DriftInformation": {"StackResourceDriftStatus": "NOT_CHECKED"},
    }
    if entry.id:
        found["PhysicalResourceId"] = entry.id
    if entry.reason:
        found["ResourceStatusReason"] = entry.reason
    return found
