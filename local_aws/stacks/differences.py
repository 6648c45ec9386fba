"""What a change set says: which resources would be added, modified and removed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from local_aws.stacks import registry, template
from local_aws.stacks.ledger import Entry
from local_aws.stacks.moto_side import Change, Resources, Stack, makes


class Unknown(Entry):
    """A resource that is not there yet: what refers to it is not known."""

    def get_cfn_attribute(self, attribute: str) -> str:
        return f"{self.id}.{attribute}"


def changes(stack: Stack, after: Resources, tags: Mapping[str, str] | None) -> Iterator[Change]:
    """What would be added, modified and removed to bring a stack to another template, other parameters or tags."""
    there = {name: entry for name, entry in stack.ledger.items() if entry.there}
    for name in after.resources:
        entry, kind = there.get(name), after.definition(name)["Type"]
        known = entry is not None and entry.cf_resource_type == kind
        after.put(name, (entry.moto or entry) if known else Unknown(name, kind, id=f"{{{{changeSet:{name}}}}}"))
    for name in template.order(after._resource_json_map):
        if not after.wanted(name):
            continue
        entry, kind = there.get(name), after.definition(name)["Type"]
        if entry is None:
            if registry.kind(kind) or makes(kind) or not stack.ledger:
                yield _change("Add", name, kind)
            continue
        properties = after.clean(after.definition(name).get("Properties") or {})
        retagged = tags is not None and dict(tags) != stack.tags and registry.kind(kind) is not None
        if properties != entry.properties or kind != entry.cf_resource_type:
            found = _change("Modify", name, kind, entry.id, ["Properties"])
            own = registry.kind(kind)
            replaced = own is not None and any(
                properties.get(each) != entry.properties.get(each) for each in own.replacing
            )
            found.replacement = "True" if replaced or kind != entry.cf_resource_type else "False"  # type: ignore[attr-defined]
            yield found
        elif retagged:
            found = _change("Modify", name, kind, entry.id, ["Tags"])
            found.replacement = "False"  # type: ignore[attr-defined]
            yield found
    for name, entry in there.items():
        if name not in after.resources or not after.wanted(name):
            yield _change("Remove", name, entry.cf_resource_type, entry.id)


def _change(action: str, name: str, kind: str, identifier: str = "", scope: list[str] | None = None) -> Change:
    found = Change(action, name, kind)
    vars(found).update(physical_resource_id=identifier or None, scope=scope or [])
    return found
