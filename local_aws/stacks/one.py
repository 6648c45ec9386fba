"""What happens to one resource of a stack: it is made, changed, replaced or deleted, and says so.

Each is a generator that yields while something is waited for, and returns whether it went well.
"""

from __future__ import annotations

import copy
import datetime as dt
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_aws.stacks import moto_side, registry
from local_aws.stacks.kinds import Failed, Kind, Work, reason_of
from local_aws.stacks.ledger import Entry
from local_aws.stacks.rights import Denied, Rights

REPLACES = "Requested update requires the creation of a new physical resource; hence creating one."
CUSTOM_NAME = (
    "CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename {} and update the "
    "stack again."
)


class One:
    """Changes single resources of a stack, with somebody's rights."""

    def __init__(self, stack: moto_side.Stack, rights: Rights) -> None:
        self.stack, self._rights = stack, rights

    def make(self, resources: moto_side.Resources, entry: Entry, verb: str = "CREATE", why: str | None = None) -> Any:
        """Make one resource; whether it is there. A generator."""
        name = entry.logical_resource_id
        self.stack.ledger[name] = entry
        entry.definition = copy.deepcopy(resources.definition(name))
        kind = registry.kind(entry.cf_resource_type)
        if kind is None and moto_side.makes(entry.cf_resource_type) is None:
            del self.stack.ledger[name]  # nobody here makes it: see _left_out
            return True
        self.say(entry, f"{verb}_IN_PROGRESS", why)
        try:
            entry.properties = resources.clean(entry.definition.get("Properties") or {})
            if kind is not None:
                work = self._work(entry, "create")
                kind.check(work)
                yield from kind.create(work)
                resources.put(name, entry)
            else:
                self._ask(entry, "create")
                self._made(entry, resources.make(name))
                resources.put(name, entry.moto)
        except Exception as error:
            self.say(entry, f"{verb}_FAILED", self._reason(entry, error))
            return False
        self.say(entry, f"{verb}_COMPLETE")
        return True

    def renew(self, after: Any, name: str, old: Entry, properties: dict[str, Any], done: list[Any]) -> Any:
        """Change one resource, or make another one in its place; whether that went well. A generator."""
        entry = copy.copy(old)
        entry.attributes = dict(old.attributes)
        entry.definition, entry.properties = copy.deepcopy(after.definition(name)), properties
        self.stack.ledger[name] = entry
        kind = registry.kind(old.cf_resource_type)
        if entry.definition["Type"] != old.cf_resource_type or (kind is not None and _replaced(kind, old, properties)):
            new = Entry(name, entry.definition["Type"])
            done.append((name, old, new))
            named = kind.named if kind is not None else ""
            if named and properties.get(named) and properties[named] == old.properties.get(named):
                self.say(entry, "UPDATE_FAILED", CUSTOM_NAME.format(properties[named]))
                self.stack.ledger[name], done[-1] = entry, (name, old, None)
                return False
            return (yield from self.make(after, new, "UPDATE", REPLACES))
        done.append((name, old, entry))
        self.say(entry, "UPDATE_IN_PROGRESS")
        try:
            if kind is None:
                self._ask(entry, "update")
                self._made(entry, after.change(name, old.moto))
                after.put(name, entry.moto)
            else:
                work = self._work(entry, "update", before=old.properties)
                kind.check(work)
                yield from kind.update(work)
                after.put(name, entry)
        except Exception as error:
            self.say(entry, "UPDATE_FAILED", self._reason(entry, error))
            return False
        self.say(entry, "UPDATE_COMPLETE")
        return True

    def revert(self, before: Any, entry: Entry, new: Entry, old: Entry) -> Any:
        """Have a resource as it was; whether that went well. A generator."""
        kind = registry.kind(old.cf_resource_type)
        self.say(entry, "UPDATE_IN_PROGRESS")
        try:
            if kind is None:
                self._ask(entry, "update")
                self._made(entry, before.change(entry.logical_resource_id, new.moto or old.moto))
                before.put(entry.logical_resource_id, entry.moto)
            else:
                yield from kind.update(self._work(entry, "update", before=new.properties))
                before.put(entry.logical_resource_id, entry)
        except Exception as error:
            self.say(entry, "UPDATE_FAILED", self._reason(entry, error))
            return False
        self.say(entry, "UPDATE_COMPLETE")
        return True

    def delete(self, resources: moto_side.Resources, entry: Entry) -> Any:
        """Delete one resource; whether it is gone. A generator."""
        self.say(entry, "DELETE_IN_PROGRESS")
        try:
            kind = registry.kind(entry.cf_resource_type)
            if kind is not None:
                yield from kind.delete(self._work(entry, "delete"))
            else:
                self._ask(entry, "delete")
                resources.unmake(entry.logical_resource_id, entry.moto)
        except Exception as error:
            self.say(entry, "DELETE_FAILED", self._reason(entry, error))
            return False
        resources.put(entry.logical_resource_id, None)
        self.say(entry, "DELETE_COMPLETE")
        return True

    def _ask(self, entry: Entry, verb: str) -> None:
        """Of what moto makes without an operation. Raises what `_reason` says."""
        self._rights.ask(entry, verb, self.stack.region_name, self.stack.name)

    def _work(self, entry: Entry, verb: str, before: dict[str, Any] | None = None) -> Work:
        stack, kind = self.stack, entry.cf_resource_type
        return Work(
            entry,
            lambda service: self._rights.client(service, stack.region_name, kind, verb),
            stack.name,
            stack.account_id,
            stack.region_name,
            stack.tags,
            before,  # type: ignore[arg-type]
        )

    @staticmethod
    def _made(entry: Entry, resource: Any) -> None:
        # Moto's records of what hangs on something else, such as a subnet's association, have no id.
        entry.moto, entry.id = (
            resource,
            str(getattr(resource, "physical_resource_id", None) or entry.logical_resource_id),
        )

    def say(self, entry: Entry, status: str, reason: str | None = None) -> None:
        entry.status, entry.reason, entry.changed = status, reason, dt.datetime.now(dt.UTC)
        self.stack.add_event(entry)

    @staticmethod
    def _reason(entry: Entry, error: Exception) -> str:
        kind = registry.kind(entry.cf_resource_type)
        if isinstance(error, ClientError | BotoCoreError | Failed):
            return reason_of(error, error.service if isinstance(error, Denied) else kind.service if kind else "")
        if isinstance(error, KeyError) and kind is not None:
            return (
                f"Properties validation failed for resource {entry.logical_resource_id}: required key {error} not found"
            )
        return moto_side.reason_of(error)


def _replaced(kind: Kind, old: Entry, properties: dict[str, Any]) -> bool:
    return any(old.properties.get(name) != properties.get(name) for name in kind.replacing)
