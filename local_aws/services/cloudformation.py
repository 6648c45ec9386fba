"""CloudFormation: stacks are made, changed and deleted here; moto keeps and describes them."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Generator
from typing import Any

from local_aws.errors import AwsError, of_moto
from local_aws.services.base import RESTARTED, Call, Service
from local_aws.stacks import registry
from local_aws.stacks.template import check_parameters, invalid, order, read, required_capability
from local_aws.state.gate import Shut

log = logging.getLogger(__name__)

POLL_SECONDS = 0.1
# Where a change ends that a restart has broken off.
BROKEN_OFF = {
    "CREATE_IN_PROGRESS": "CREATE_FAILED", "ROLLBACK_IN_PROGRESS": "ROLLBACK_FAILED",
    "UPDATE_IN_PROGRESS": "UPDATE_FAILED", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": "UPDATE_COMPLETE",
    "UPDATE_ROLLBACK_IN_PROGRESS": "UPDATE_ROLLBACK_FAILED", "DELETE_IN_PROGRESS": "DELETE_FAILED",
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": "UPDATE_ROLLBACK_COMPLETE",
}  # fmt: skip
NO_CHANGES = "The submitted information didn't contain changes. Submit different information to create a change set."
CHANGEABLE = (
    "CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE", "IMPORT_ROLLBACK_COMPLETE",
)  # fmt: skip


class CloudFormation(Service):
    """Stacks and change sets. A call returns when nothing more can be done without waiting; the rest goes on then.

    Source: AWS CloudFormation API reference.
    """

    name = "cloudformation"

    def __init__(self, aws) -> None:
        super().__init__(aws)
        self._stopping = threading.Event()
        self._running: dict[str, Running] = {}
        """By the id of a stack that is being changed in a thread."""
        self._callers: Any = None

    def start(self) -> None:
        models = sys.modules.get("moto.cloudformation.models")
        for _, _, backend in models.cloudformation_backends.iter_backends() if models else ():
            for stack in backend.stacks.values():
                if stack.status in BROKEN_OFF and hasattr(stack, "say"):
                    stack.say(BROKEN_OFF[stack.status], f"{RESTARTED} meanwhile")

    def stop(self) -> None:
        self._stopping.set()

    # --- stacks

    def create_stack(self, call: Call) -> dict[str, Any]:
        params, moto = call.params, _moto()
        backend = self._backend(call)
        if params.get("DisableRollback") and params.get("OnFailure"):
            raise invalid("Either DisableRollback or OnFailure can be specified, not both.")
        on_failure = "DO_NOTHING" if params.get("DisableRollback") else params.get("OnFailure", "ROLLBACK")
        text, given = self._template(call), _given(params)
        self._check(text, given, params)
        found = self._find(backend, params["StackName"])
        if found is not None and found.status == "REVIEW_IN_PROGRESS":
            raise invalid(f"Stack [{params['StackName']}] already exists and is in REVIEW_IN_PROGRESS state.")
        if found is not None:
            raise AwsError("AlreadyExistsException", f"Stack [{params['StackName']}] already exists")
        rights = self._rights(call)
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
                tags=_tags(params),
                enable_termination_protection=bool(params.get("EnableTerminationProtection")),
            )
        stack.disable_rollback, stack.capabilities = on_failure == "DO_NOTHING", params.get("Capabilities") or []
        backend.stacks[stack.stack_id] = stack
        self._run(stack, rights, lambda change: change.create(on_failure))
        return {"StackId": stack.stack_id}

    def update_stack(self, call: Call) -> dict[str, Any]:
        params = call.params
        stack = self._stack(call)
        self._check_changeable(stack)
        text = stack.template if params.get("UsePreviousTemplate") else self._template(call)
        given = _given(params, stack)
        self._check(text, given, params)
        tags = _tags(params) if params.get("Tags") else None
        same_tags = tags is None or tags == stack.tags
        with of_moto():
            resources = stack.resources_of(text, given)
        if read(text) == stack.template_dict and resources.resolved_parameters == stack.stack_parameters and same_tags:
            raise invalid("No updates are to be performed.")
        rights = self._rights(call, stack)
        if "NotificationARNs" in params:
            stack.notification_arns = params["NotificationARNs"]
        stack.capabilities = params.get("Capabilities") or []
        roll_back = not params.get("DisableRollback")
        self._run(stack, rights, lambda change: change.update(text, given, tags, roll_back))
        return {"StackId": stack.stack_id}

    def delete_stack(self, call: Call) -> None:
        backend, name = self._backend(call), call.params["StackName"]
        stack = self._find(backend, name)
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
        rights = self._rights(call, stack)
        for each in [each for each, found in backend.change_sets.items() if found.stack is stack]:
            del backend.change_sets[each]
        running = self._running.get(stack.stack_id)
        if running is not None:
            running.stop.set()
        self._run(stack, rights, lambda change: change.delete(retained=retained))

    def update_termination_protection(self, call: Call) -> dict[str, Any]:
        stack = self._stack(call)
        stack.enable_termination_protection = bool(call.params["EnableTerminationProtection"])
        return {"StackId": stack.stack_id}

    # --- change sets

    def create_change_set(self, call: Call) -> dict[str, Any]:
        params, moto, backend = call.params, _moto(), self._backend(call)
        kind = params.get("ChangeSetType", "UPDATE")
        stack = self._find(backend, params["StackName"])
        if kind == "CREATE":
            if stack is not None and stack.status != "REVIEW_IN_PROGRESS":
                raise AwsError("AlreadyExistsException", f"Stack [{params['StackName']}] already exists and cannot be created again with the changeSet [{params['ChangeSetName']}].")  # fmt: skip # noqa: E501
        elif stack is None:
            raise invalid(f"Stack [{params['StackName']}] does not exist")
        else:
            self._check_changeable(stack)
        if any(
            each.stack is stack and each.change_set_name == params["ChangeSetName"]
            for each in backend.change_sets.values()
        ):
            raise AwsError("AlreadyExistsException", f"ChangeSet {params['ChangeSetName']} already exists")
        text = stack.template if params.get("UsePreviousTemplate") and stack else self._template(call)
        given = _given(params, stack)
        self._check(text, given, params)
        made = None if stack is not None else self._in_review(call)
        stack = stack or made
        with of_moto():
            resources = stack.resources_of(text, given)
            changes = list(moto.changes(stack, resources, _tags(params) if params.get("Tags") else None))
        if made is not None:
            backend.stacks[made.stack_id] = made
            made.say("REVIEW_IN_PROGRESS", "User Initiated")
        identifier = moto.generate_changeset_id(params["ChangeSetName"], call.region, call.account)
        found = moto.ChangeSet.__new__(moto.ChangeSet)
        vars(found).update(
            change_set_type=kind, change_set_id=identifier, change_set_name=params["ChangeSetName"], stack=stack,
            stack_id=stack.stack_id, stack_name=stack.name, notification_arns=params.get("NotificationARNs"),
            description=params.get("Description"), tags=_tags(params) if params.get("Tags") else None,
            role_arn=params.get("RoleARN"),
            template=text, parameters=given, creation_time=self.aws.clock.now(), changes=changes,
            capabilities=params.get("Capabilities") or [], on_stack_failure=params.get("OnStackFailure"),
            status="CREATE_COMPLETE" if changes else "FAILED", status_reason=None if changes else NO_CHANGES,
            execution_status="AVAILABLE" if changes else "UNAVAILABLE",
        )  # fmt: skip
        backend.change_sets[identifier] = found
        return {"Id": identifier, "StackId": stack.stack_id}

    def execute_change_set(self, call: Call) -> dict[str, Any]:
        params, backend = call.params, self._backend(call)
        found = self._change_set(call)
        if found.execution_status != "AVAILABLE":
            raise AwsError(
                "InvalidChangeSetStatus",
                f"ChangeSet [{found.change_set_id}] cannot be executed in its current status of [{found.status}]",
            )
        stack = found.stack
        rights = self._rights(call, stack, found.role_arn)
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
            self._run(stack, rights, lambda change: change.create(otherwise))
        else:
            self._check_changeable(stack)
            stack.capabilities = found.capabilities
            roll_back = roll_back and found.on_stack_failure != "DO_NOTHING"
            self._run(
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
        stack = self._stack(call)
        found = [each for each in self._backend(call).change_sets.values() if each.stack is stack]
        return {"Summaries": [_summary(each) for each in found]}

    def delete_change_set(self, call: Call) -> dict[str, Any]:
        try:
            found = self._change_set(call)
        except AwsError as error:
            if error.code == "ChangeSetNotFound":
                return {}  # AWS: DeleteChangeSet is successful when it is gone
            raise
        del self._backend(call).change_sets[found.change_set_id]
        return {}

    def _change_set(self, call: Call) -> Any:
        """A change set by its ARN, or by its name and its stack's. Raises AwsError."""
        name, stack = call.params["ChangeSetName"], call.params.get("StackName")
        if not name.startswith("arn:") and stack is None:
            raise invalid("StackName must be specified if ChangeSetName is not specified as an ARN.")
        for each in self._backend(call).change_sets.values():
            of_stack = stack is None or stack in (each.stack_name, each.stack_id)
            if of_stack and name in (each.change_set_id, each.change_set_name):
                return each
        raise AwsError("ChangeSetNotFound", f"ChangeSet [{name}] does not exist", status=404)

    # --- resources

    def describe_stack_resource(self, call: Call) -> dict[str, Any]:
        stack, name = self._stack(call, deleted=True), call.params["LogicalResourceId"]
        if name not in stack.ledger:
            raise invalid(f"Resource {name} does not exist for stack {stack.name}")
        entry = stack.ledger[name]
        return {"StackResourceDetail": {"LastUpdatedTimestamp": entry.changed, **_resource(stack, entry)}}

    def describe_stack_resources(self, call: Call) -> dict[str, Any]:
        params, backend = call.params, self._backend(call)
        if params.get("StackName"):
            stack = self._stack(call, deleted=True)
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
        stack = self._stack(call, deleted=True)
        found = [{"LastUpdatedTimestamp": each.changed, **_resource(stack, each)} for each in stack.ledger.values()]
        size, start = 100, _token(call.params.get("NextToken"))
        answer: dict[str, Any] = {"StackResourceSummaries": found[start : start + size]}
        if start + size < len(found):
            answer["NextToken"] = str(start + size)
        return answer

    # --- inside

    def _rights(self, call: Call, stack: Any = None, of_change_set: str | None = None) -> Any:
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

    def _run(self, stack: Any, rights: Any, steps: Callable[[Any], Generator[None, None, None]]) -> None:
        """Do what needs no waiting within the call, and the rest in a thread.

        Parameters: `rights` in whose name, `steps` makes the generator of a `stacks.change.Change`.
        """
        from local_aws.stacks.change import Change

        stop = threading.Event()
        running = steps(Change(stack, rights, stop.is_set))
        before = self._running.get(stack.stack_id)
        if before is None:
            try:
                next(running)
            except StopIteration:
                return
        self._running[stack.stack_id] = work = Running(stop, before.done if before else None)
        threading.Thread(target=self._go_on, args=(stack, running, work), name="stack", daemon=True).start()

    def _go_on(self, stack: Any, steps: Generator[None, None, None], work: Running) -> None:
        try:
            while not self._stopping.wait(POLL_SECONDS):
                if work.after is not None and not work.after.is_set():
                    continue
                with self.aws.saver.gate.call():
                    self.aws.saver.changed()
                    next(steps)
        except (StopIteration, Shut):
            pass
        except Exception as error:
            log.exception("the stack %s broke off", stack.name)
            stack.say(BROKEN_OFF.get(stack.status, stack.status), f"The local AWS failed: {error}")
        finally:
            if self._running.get(stack.stack_id) is work:
                del self._running[stack.stack_id]
            work.done.set()
            self.aws.saver.changed()

    def _backend(self, call: Call) -> Any:
        return _moto().cloudformation_backends[call.account][call.region]

    def _template(self, call: Call) -> str:
        """The template that a call names. Raises AwsError."""
        body, url = call.params.get("TemplateBody"), call.params.get("TemplateURL")
        if bool(body) == bool(url):
            raise invalid("Either Template URL or Template Body must be specified.")
        if body:
            return body
        try:
            with of_moto():
                found = _moto().get_stack_from_s3_url(url, account_id=call.account, partition="aws")
        except AttributeError:
            raise invalid(f"S3 error: the object of TemplateURL {url} does not exist.") from None
        return found.decode() if isinstance(found, bytes) else found

    @staticmethod
    def _check(text: str, given: dict[str, str], params: dict[str, Any]) -> None:
        """What can be said of a template before anything is made. Raises AwsError."""
        template = read(text)
        check_parameters(template.get("Parameters") or {}, given)
        for name, resource in template["Resources"].items():
            if registry.refused(resource["Type"]):
                raise invalid(
                    f"The local AWS's CloudFormation does not make {resource['Type']} ({name}): leave it out."
                )
        order(template["Resources"])
        needed = required_capability(template["Resources"])
        if needed and not {needed, "CAPABILITY_NAMED_IAM"} & set(params.get("Capabilities") or ()):
            raise AwsError("InsufficientCapabilitiesException", f"Requires capabilities : [{needed}]")

    @staticmethod
    def _find(backend: Any, name: str, *, deleted: bool = False) -> Any:
        """A stack by its name or id; one that is deleted has its id alone."""
        for each in backend.stacks.values():
            if name in (each.name, each.stack_id):
                return each
        return backend.deleted_stacks.get(name) if deleted else None

    def _stack(self, call: Call, *, deleted: bool = False) -> Any:
        name = call.params["StackName"]
        found = self._find(self._backend(call), name, deleted=deleted)
        if found is None:
            raise invalid(f"Stack [{name}] does not exist" if not deleted else f"Stack with id {name} does not exist")
        return found

    def _check_changeable(self, stack: Any) -> None:
        if stack.status not in CHANGEABLE or stack.stack_id in self._running:
            raise invalid(f"Stack:{stack.stack_id} is in {stack.status} state and can not be updated.")

    @staticmethod
    def _in_review(call: Call) -> Any:
        moto = _moto()
        return moto.Stack(
            stack_id=moto.generate_stack_id(call.params["StackName"], call.region, call.account),
            name=call.params["StackName"],
            template={},
            parameters={},
            account_id=call.account,
            region_name=call.region,
            notification_arns=call.params.get("NotificationARNs"),
            tags=_tags(call.params),
        )


class Running:
    """A change of a stack that goes on after its call.

    Parameters: `stop` tells it to stop; `after` is set when the change before it has.
    """

    def __init__(self, stop: threading.Event, after: threading.Event | None) -> None:
        self.stop, self.after, self.done = stop, after, threading.Event()


def _moto() -> Any:
    from local_aws.stacks import moto_side

    return moto_side


def _tags(params: dict[str, Any]) -> dict[str, str]:
    return {each["Key"]: each["Value"] for each in params.get("Tags") or ()}


def _given(params: dict[str, Any], stack: Any = None) -> dict[str, str]:
    """The parameters of a call, those before where it says so. Raises AwsError."""
    before, given = stack.parameters if stack is not None else {}, {}
    for each in params.get("Parameters") or ():
        name = each["ParameterKey"]
        if each.get("UsePreviousValue"):
            if "ParameterValue" in each:
                raise invalid(
                    f"Invalid input for parameter key {name}. Cannot specify usePreviousValue as true and non empty "
                    "value for a parameter"
                )
            if name in before:
                given[name] = before[name]
        elif "ParameterValue" in each:
            given[name] = each["ParameterValue"]
    return given


def _token(token: str | None) -> int:
    if token is not None and not token.isdigit():
        raise invalid(f"The token {token!r} is invalid.")
    return int(token or 0)


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
