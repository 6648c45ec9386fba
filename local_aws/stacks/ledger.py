"""What a stack knows of each of its resources: what it is called in AWS, and how it is with it."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Entry:
    """One resource of a stack; of one that lives here also what those that refer to it get."""

    logical_resource_id: str
    cf_resource_type: str
    definition: dict[str, Any] = field(default_factory=dict)
    """As the template has it."""
    properties: dict[str, Any] = field(default_factory=dict)
    """With its functions resolved."""
    id: str = ""
    """Its physical id; "" until there is something."""
    name: str = ""
    """Of one that is named by the stack or by its template."""
    attributes: dict[str, Any] = field(default_factory=dict)
    status: str = ""
    reason: str | None = None
    changed: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))
    moto: Any = None
    """Moto's record of one that moto makes."""

    @property
    def physical_resource_id(self) -> str:
        return self.id

    def get_cfn_attribute(self, attribute: str) -> Any:
        """What Fn::GetAtt gives; None for an attribute that is not there yet."""
        return self.attributes.get(attribute)

    @property
    def there(self) -> bool:
        """Whether there is anything of it that would have to be deleted."""
        return bool(self.id) and self.status != "DELETE_COMPLETE"

    def properties_text(self) -> str | None:
        """Its properties as events show them."""
        return json.dumps(self.properties, default=str) if self.properties else None

    def retained(self, policy: str = "DeletionPolicy") -> bool:
        """Whether it stays when the stack no longer has it."""
        return self.definition.get(policy) in ("Retain", "RetainExceptOnCreate")
