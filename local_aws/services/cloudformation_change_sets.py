"""CloudFormation's change sets: what would change is worked out before, and carried out later, or never."""

from __future__ import annotations

from typing import Any

from local_aws.errors import AwsError, of_moto
from local_aws.services.base import Call, Service
from local_aws.services.cloudformation import CloudFormation
from local_aws.stacks.requests import (
    backend_of,
    check_template,
    find,
    in_review,
    moto_side,
    parameters_of,
    stack_of,
    tags_of,
    template_of,
)
from local_aws.stacks.template import invalid, read

NO_CHANGES = "The submitted information didn't contain changes. Submit different information to create a change set."


class CloudFormationChangeSets(Service):
    """Source: AWS CloudFormation API reference."""

    name = "cloudformation"

    @property
    def _stacks(self) -> CloudFormation:
        return self.aws.service(CloudFormation)

    def create_change_set(self, call: Call) -> dict[str, Any]:
        from local_aws.stacks import differences

        params, moto, backend = call.params, moto_side(), backend_of(call)
        kind = params.get("ChangeSetType", "UPDATE")
        stack = find(backend, params["StackName"])
        if kind == "CREATE":
            if stack is not None and stack.status != "REVIEW_IN_PROGRESS":
                raise AwsError("AlreadyExistsException", f"Stack [{params['StackName']}] already exists and cannot be created again with the changeSet [{params['ChangeSetName']}].")  # fmt: skip # noqa: E501
        elif stack is None:
            raise invalid(f"Stack [{params['StackName']}] does not exist")
        else:
            self._stacks.runner.check(stack)
        if any(
            each.stack is stack and each.change_set_name == params["ChangeSetName"]
            for each in backend.change_sets.values()
        ):
            raise AwsError("AlreadyExistsException", f"ChangeSet {params['ChangeSetName']} already exists")
        text = stack.template if params.get("UsePreviousTemplate") and stack else template_of(call)
        given = parameters_of(params, stack)
        check_template(text, given, params)
        made = None if stack is not None else in_review(call)
        stack = stack or made
        with of_moto():
            resources = stack.resources_of(text, given)
            changes = list(differences.changes(stack, resources, tags_of(params) if params.get("Tags") else None))
        if made is not None:
            backend.stacks[made.stack_id] = made
            made.say("REVIEW_IN_PROGRESS", "User Initiated")
        identifier = moto.generate_changeset_id(params["ChangeSetName"], call.region, call.account)
        found = moto.ChangeSet.__new__(moto.ChangeSet)
        vars(found).update(
            change_set_type=kind, change_set_id=identifier, change_set_name=params["ChangeSetName"], stack=stack,
            stack_id=stack.stack_id, stack_name=stack.name, notification_arns=params.get("NotificationARNs"),
            description=params.get("Description"), tags=tags_of(params) if params.get("Tags") else None,
            role_arn=params.get("RoleARN"),
            template=text, parameters=given, creation_time=self.aws.clock.now(), changes=changes,
            capabilities=params.get("Capabilities") or [], on_stack_failure=params.get("OnStackFailure"),
            status="CREATE_COMPLETE" if changes else "FAILED", status_reason=None if changes else NO_CHANGES,
            execution_status="AVAILABLE" if changes else "UNAVAILABLE",
        )  # fmt: skip
        backend.change_sets[identifier] = found
        return {"Id": identifier, "StackId": stack.stack_id}

    def execute_change_set(self, call: Call) -> dict[str, Any]:
        params, backend = call.params, backend_of(call)
        found = self._change_set(call)
        if found.execution_status != "AVAILABLE":
            raise AwsError(
                "InvalidChangeSetStatus",
                f"ChangeSet [{found.change_set_id}] cannot be executed in its current status of [{found.status}]",
            )
        stack = found.stack
        rights = self._stacks.rights(call, stack, found.role_arn)
        for each in [key for key, other in backend.change_sets.items() if other.stack is stack and other is not found]:
            del backend.change_sets[each]
        found.execution_status = "EXECUTE_COMPLETE"
        roll_back = not params.get("DisableRollback")
        if found.change_set_type == "CREATE":
            stack.template, stack.parameters, stack.tags = found.template, found.parameters, found.tags or {}
            stack.template_dict, stack.resource_map = (
                read(found.template),
                stack.resources_of(stack.template, found.parameters),
            )
            stack.description, stack.capabilities = stack.template_dict.get("Description"), found.capabilities
            stack.disable_rollback = not roll_back
            stack.set_outputs(visible=False)
            otherwise = found.on_stack_failure or ("ROLLBACK" if roll_back else "DO_NOTHING")
            self._stacks.runner.run(stack, rights, lambda change: change.create(otherwise))
        else:
            self._stacks.runner.check(stack)
            stack.capabilities = found.capabilities
            roll_back = roll_back and found.on_stack_failure != "DO_NOTHING"
            self._stacks.runner.run(
                stack, rights, lambda change: change.update(found.template, found.parameters, found.tags, roll_back)
            )
        return {}

    def describe_change_set(self, call: Call) -> dict[str, Any]:
        found = self._change_set(call)
        parameters = [{"ParameterKey": name, "ParameterValue": value} for name, value in found.parameters.items()]
        return _summary(found) | {
            "Parameters": parameters,
            "NotificationARNs": found.notification_arns or [],
            "Capabilities": found.capabilities,
            "Tags": [{"Key": key, "Value": value} for key, value in (found.tags or {}).items()],
            "OnStackFailure": found.on_stack_failure,
            "Changes": [{"Type": "Resource", "ResourceChange": _change(each)} for each in found.changes],
        }

    def list_change_sets(self, call: Call) -> dict[str, Any]:
        stack = stack_of(call)
        found = [each for each in backend_of(call).change_sets.values() if each.stack is stack]
        return {"Summaries": [_summary(each) for each in found]}

    def delete_change_set(self, call: Call) -> dict[str, Any]:
        try:
            found = self._change_set(call)
        except AwsError as error:
            if error.code == "ChangeSetNotFound":
                return {}  # AWS: DeleteChangeSet is successful when it is gone
            raise
        del backend_of(call).change_sets[found.change_set_id]
        return {}

    def _change_set(self, call: Call) -> Any:
        """A change set by its ARN, or by its name and its stack's. Raises AwsError."""
        name, stack = call.params["ChangeSetName"], call.params.get("StackName")
        if not name.startswith("arn:") and stack is None:
            raise invalid("StackName must be specified if ChangeSetName is not specified as an ARN.")
        for each in backend_of(call).change_sets.values():
            of_stack = stack is None or stack in (each.stack_name, each.stack_id)
            if of_stack and name in (each.change_set_id, each.change_set_name):
                return each
        raise AwsError("ChangeSetNotFound", f"ChangeSet [{name}] does not exist", status=404)


def _summary(found: Any) -> dict[str, Any]:
    """What ListChangeSets says of a change set, and DescribeChangeSet as well."""
    return {
        "ChangeSetName": found.change_set_name, "ChangeSetId": found.change_set_id, "StackId": found.stack_id,
        "StackName": found.stack_name, "Description": found.description, "CreationTime": found.creation_time,
        "ExecutionStatus": found.execution_status, "Status": found.status, "StatusReason": found.status_reason,
    }  # fmt: skip


def _change(each: Any) -> dict[str, Any]:
    return {
        "Action": each.action, "LogicalResourceId": each.logical_resource_id, "ResourceType": each.resource_type,
        "PhysicalResourceId": each.physical_resource_id, "Scope": each.scope,
        "Replacement": getattr(each, "replacement", None),
    }  # fmt: skip
