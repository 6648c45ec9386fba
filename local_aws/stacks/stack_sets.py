"""Stack sets, whose stacks moto makes by itself: what lives here is refused in their templates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.cloudformation import parsing
from moto.cloudformation.exceptions import ValidationError

from local_aws.stacks import registry


def teach_moto() -> None:
    """Refuse what lives here in templates of stack sets, whose stacks moto makes itself."""
    create, update = parsing.ResourceMap.create, parsing.ResourceMap.update
    if create.__module__ == __name__:
        return

    def checked_create(self: Any, given: dict[str, Any]) -> bool:
        _check(given)
        return create(self, given)

    def checked_update(self: Any, given: dict[str, Any], parameters: dict[str, Any] | None = None) -> None:
        _check(given)
        update(self, given, parameters)

    parsing.ResourceMap.create, parsing.ResourceMap.update = checked_create, checked_update  # type: ignore[method-assign]


def _check(given: Mapping[str, Any]) -> None:
    for name, resource in given["Resources"].items():
        kind = str(resource.get("Type"))
        if registry.kind(kind) or registry.refused(kind):
            raise ValidationError(
                message=f"The local AWS's stack sets do not make {kind} ({name}): make a stack of it by CreateStack."
            )
