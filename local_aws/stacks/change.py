"""What happens when a stack is made, brought up to date or deleted, one resource after the other.

Each is a generator that yields while something is waited for; between two yields all that is kept is whole. Source:
AWS CloudFormation user guide, "Understand CloudFormation stack creation events", "Stack failure options", "Update
behaviors of stack resources", "Deletion behavior".
"""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any

from moto.core.exceptions import ServiceException

from local_aws.errors import AwsError
from local_aws.stacks import moto_side, registry
from local_aws.stacks.kinds import Steps
from local_aws.stacks.ledger import Entry
from local_aws.stacks.one import One
from local_aws.stacks.rights import Rights
from local_aws.stacks.template import order


class Change:
    """One operation on one stack, with somebody's rights. `cancelled` is asked between two resources."""

    def __init__(self, stack: moto_side.Stack, rights: Rights, cancelled: Callable[[], bool]) -> None:
        self.stack, self._cancelled = stack, cancelled
        self._one = One(stack, rights)
        self._exports = moto_side.cloudformation_backends[stack.account_id][stack.region_name].exports

    # --- a stack

    def create(self, on_failure: str) -> Steps:
        """Make everything; what was made is undone when something fails, unless it is to stay."""
        stack = self.stack
        stack.say("CREATE_IN_PROGRESS", "User Initiated")
        failed = None
        for name in order(stack.template_dict["Resources"]):
            if failed or not stack.resource_map.wanted(name):
                continue
            if self._cancelled():
                return
            entry = Entry(name, stack.resource_map.definition(name)["Type"])
            if not (yield from self._one.make(stack.resource_map, entry)):
                failed = f"The following resource(s) failed to create: [{name}]. "
        failed = failed or self._export()
        if failed is None:
            stack.say("CREATE_COMPLETE", self._left_out())
        elif on_failure == "ROLLBACK":
            stack.say("ROLLBACK_IN_PROGRESS", f"{failed}Rollback requested by user.")
            yield from self._delete_all("ROLLBACK")
        elif on_failure == "DELETE":
            stack.say("CREATE_FAILED", failed)
            yield from self.delete(f"{failed}Delete requested by user.")
        else:
            stack.say("CREATE_FAILED", failed)

    def delete(self, reason: str = "User Initiated", retained: Iterable[str] = ()) -> Steps:
        """Delete everything that does not stay."""
        self.stack.say("DELETE_IN_PROGRESS", reason)
        for name in [name for name, each in self._exports.items() if each.exporting_stack_id == self.stack.stack_id]:
            del self._exports[name]
        yield from self._delete_all("DELETE", set(retained))
        if self.stack.status == "DELETE_COMPLETE":
            self.stack.deletion_time = dt.datetime.now(dt.UTC)
            backend = moto_side.cloudformation_backends[self.stack.account_id][self.stack.region_name]
            backend.stacks.pop(self.stack.stack_id, None)
            backend.deleted_stacks[self.stack.stack_id] = self.stack

    def update(
        self, text: str, parameters: dict[str, str], tags: dict[str, str] | None, roll_back: bool = True
    ) -> Steps:
        """Bring the stack to another template or other parameters; back to what it was when something fails."""
        stack, before = self.stack, self.stack.resource_map
        kept = {name: getattr(stack, name) for name in ("template", "template_dict", "parameters", "tags")}
        entries = dict(stack.ledger)
        stack.say("UPDATE_IN_PROGRESS", "User Initiated")
        stack.last_updated_time = dt.datetime.now(dt.UTC)
        if tags is not None:
            stack.tags = tags
        after = stack.resources_of(text, parameters)
        for name, entry in entries.items():
            if entry.there and name in after.resources:
                after.put(name, entry.moto or entry)
        done: list[tuple[str, Entry | None, Entry | None]] = []
        failed = yield from self._reach(before, after, entries, done, tags is not None)
        if failed is None:
            stack.template, stack.parameters = text, parameters
            stack.template_dict, stack.resource_map = after._template, after
            failed = self._export()
        if failed is None:
            stack.description = stack.template_dict.get("Description")
            stack.say("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
            yield from self._clean_up(before, after, entries, done)
            stack.say("UPDATE_COMPLETE", self._left_out())
            return
        if not roll_back:
            stack.say("UPDATE_FAILED", failed)
            return
        stack.say("UPDATE_ROLLBACK_IN_PROGRESS", failed)
        for name, value in kept.items():
            setattr(stack, name, value)
        stack.resource_map = before
        undone = yield from self._undo(before, after, done)
        self._export()
        if undone is None:
            stack.say("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS")
            stack.say("UPDATE_ROLLBACK_COMPLETE")
        else:
            stack.say("UPDATE_ROLLBACK_FAILED", undone)

    # --- its resources

    def _reach(self, before: Any, after: Any, entries: dict[str, Entry], done: list[Any], retagged: bool) -> Any:
        """Make and change what the new template has; what failed, or None. A generator."""
        for name in order(after._resource_json_map):
            if not after.wanted(name):
                continue
            kind_name, old = after.definition(name)["Type"], entries.get(name)
            if self._cancelled():
                return "Resource update cancelled"
            if old is None or not old.there:
                entry = Entry(name, kind_name)
                done.append((name, None, entry))
                if not (yield from self._one.make(after, entry)):
                    return f"The following resource(s) failed to create: [{name}]. "
                continue
            properties = after.clean(after.definition(name).get("Properties") or {})
            kind = registry.kind(old.cf_resource_type)
            same = kind_name == old.cf_resource_type and properties == old.properties
            if same and not (retagged and kind is not None):
                old.definition = copy.deepcopy(after.definition(name))
                continue
            if not (yield from self._one.renew(after, name, old, properties, done)):
                return f"The following resource(s) failed to update: [{name}]. "
        return None

    def _clean_up(self, before: Any, after: Any, entries: dict[str, Entry], done: list[Any]) -> Steps:
        """Delete what the new template no longer has, and what was replaced; what cannot be deleted is left."""
        replaced = {name: old for name, old, new in done if old is not None and new is not None and new.id != old.id}
        # Moto's own way to change a resource leaves nothing of the old one.
        replaced = {name: old for name, old in replaced.items() if registry.kind(old.cf_resource_type)}
        for name in reversed(order(before._resource_json_map)):
            gone = name not in after.resources or not after.wanted(name)
            old = replaced.get(name) or (entries.get(name) if gone else None)
            if old is None or not old.there:
                continue
            if old.retained("UpdateReplacePolicy" if name in replaced else "DeletionPolicy"):
                self._one.say(old, "DELETE_SKIPPED")
            else:
                yield from self._one.delete(before, old)
            if gone:
                self.stack.ledger[name] = old
                if old.status == "DELETE_SKIPPED":
                    old.id = ""

    def _undo(self, before: Any, after: Any, done: list[Any]) -> Any:
        """Have everything as it was; what failed, or None. A generator."""
        failed = []
        for name, old, new in reversed(done):
            if old is None:
                if new.there and not (yield from self._one.delete(after, new)):
                    failed.append(name)
                continue
            if new is not None and new.id and new.id != old.id and registry.kind(old.cf_resource_type):
                if not (yield from self._one.delete(after, new)):
                    failed.append(name)
                self.stack.ledger[name] = old
                continue
            kind = registry.kind(old.cf_resource_type)
            entry = self.stack.ledger[name] = copy.copy(old)
            if new is None or (kind is not None and new.cf_resource_type != old.cf_resource_type):
                self._one.say(entry, "UPDATE_COMPLETE")
                continue
            if not (yield from self._one.revert(before, entry, new, old)):
                failed.append(name)
        return f"The following resource(s) failed to update: [{', '.join(failed)}]. " if failed else None

    def _delete_all(self, verb: str, retained: Iterable[str] = ()) -> Steps:
        """Delete the stack's resources, those last that others refer to."""
        failed, resources = [], self.stack.resource_map
        known = [name for name in order(resources._resource_json_map) if name in self.stack.ledger]
        others = [name for name in self.stack.ledger if name not in known]
        for name in reversed([*others, *known]):
            entry = self.stack.ledger[name]
            if not entry.there:
                continue
            if name in retained or (verb == "DELETE" and entry.retained()):
                self._one.say(entry, "DELETE_SKIPPED")
                entry.id = ""
            elif not (yield from self._one.delete(resources, entry)):
                failed.append(name)
        if failed:
            self.stack.say(f"{verb}_FAILED", f"The following resource(s) failed to delete: [{', '.join(failed)}]. ")
        else:
            self.stack.say(f"{verb}_COMPLETE")

    # --- its outputs

    def _left_out(self) -> str | None:
        """What nobody here makes, as one sentence."""
        resources = self.stack.resource_map
        names = [name for name in resources.resources if resources.wanted(name) and name not in self.stack.ledger]
        if not names:
            return None
        shown = ", ".join(f"{name} ({resources.definition(name)['Type']})" for name in names)
        return f"The local AWS has left out what it does not make: {shown}."

    def _export(self) -> str | None:
        """Give the outputs that are exported to other stacks; why that cannot be, or None."""
        stack = self.stack
        try:
            stack.set_outputs(visible=True)
        except (AwsError, ServiceException, KeyError) as error:
            stack.set_outputs(visible=False)
            return f"{moto_side.reason_of(error)} "
        shown = stack.outputs or ()
        wanted = {each["ExportName"]: each["OutputValue"] for each in shown if "ExportName" in each}
        for name in wanted:
            other = self._exports.get(name)
            if other is not None and other.exporting_stack_id != stack.stack_id:
                stack.set_outputs(visible=False)
                return (
                    f"Export with name {name} is already exported by stack {other.exporting_stack_id.split('/')[1]}. "
                )
        for name in [name for name, each in self._exports.items() if each.exporting_stack_id == stack.stack_id]:
            del self._exports[name]
        self._exports.update({name: moto_side.Export(stack.stack_id, name, value) for name, value in wanted.items()})
        return None
