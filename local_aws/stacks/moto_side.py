"""Moto's CloudFormation: what it reads and resolves, and the kinds of resources that it makes itself.

The only module that knows it; imported when CloudFormation is called first.
"""

from __future__ import annotations

import contextlib
import inspect
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from moto.cloudformation import parsing
from moto.cloudformation.exceptions import UnformattedGetAttTemplateException
from moto.cloudformation.models import Change, ChangeSet, Event, Export, OutputMap, cloudformation_backends
from moto.cloudformation.models import Stack as MotosStack
from moto.cloudformation.utils import generate_changeset_id, generate_stack_id, get_stack_from_s3_url
from moto.core.exceptions import ServiceException
from moto.ec2 import models as ec2_models
from moto.ec2.models.core import TaggedEC2Resource

from local_aws.stacks import registry, template
from local_aws.stacks.ledger import Entry

__all__ = [
    "Change",
    "ChangeSet",
    "Export",
    "Resources",
    "Stack",
    "cloudformation_backends",
    "generate_changeset_id",
    "generate_stack_id",
    "get_stack_from_s3_url",
]  # fmt: skip


class Resources(parsing.ResourceMap):
    """A template's resources by their names in it: what is made of them so far.

    Moto's makes a resource when it is asked for; here that is `change.py`'s.
    """

    def __getitem__(self, key: str) -> Any:
        if key in self._parsed_resources:
            return self._parsed_resources[key]
        if key in self._resource_json_map:
            return None
        raise KeyError(key)

    def put(self, name: str, resource: Any) -> None:
        """Remember what was made, for those that refer to it; None forgets it."""
        if resource is None:
            self._parsed_resources.pop(name, None)
        else:
            self._parsed_resources[name] = resource

    def wanted(self, name: str) -> bool:
        """Whether a resource's condition holds."""
        condition = self._resource_json_map[name].get("Condition")
        return condition is None or bool(self.lazy_condition_map[condition])

    def definition(self, name: str) -> dict[str, Any]:
        """A resource as the template has it."""
        return self._resource_json_map[name]

    def clean(self, value: Any) -> Any:
        """A part of the template with its functions resolved."""
        return _without_nothing(parsing.clean_json(value, self))

    def validate_outputs(self) -> None:
        """Everything that is referred to is there, and has the attribute."""
        known = {*self._resource_json_map, *self._parsed_resources, *self.resolved_parameters}
        for section in ("Resources", "Outputs"):
            for part in (self._template.get(section) or {}).values():
                for name, attribute in template.references(part):
                    self._check_reference(section, name, attribute, known)
        for name in self._resource_json_map:
            condition = self._resource_json_map[name].get("Condition")
            if condition is not None and condition not in self.lazy_condition_map:
                raise template.invalid(
                    f"Template format error: Unresolved condition dependency {condition} in the Resources block of "
                    "the template"
                )

    def _check_reference(self, section: str, name: str, attribute: str | None, known: set[str]) -> None:
        if name.startswith("AWS::"):
            return
        if name not in known or (attribute is not None and name not in self._resource_json_map):
            raise template.invalid(
                f"Template format error: Unresolved resource dependencies [{name}] in the {section} block of the "
                "template"
            )
        if attribute is None:
            return
        kind = self._resource_json_map[name]["Type"]
        own, moto = registry.kind(kind), makes(kind)
        has = own.has(attribute) if own else moto is None or moto.has_cfn_attr(attribute)
        if not has:
            raise template.invalid(
                f"Template error: resource {name} does not support attribute type {attribute} in Fn::GetAtt"
            )

    # --- the kinds that moto makes

    def make(self, name: str) -> Any:
        """Make a resource of moto's. Raises what moto raises; None for a kind that it does not make."""
        with _quietly():
            made = parsing.parse_and_create_resource(
                name, self._resource_json_map[name], self, self._account_id, self._region_name
            )
        if isinstance(made, TaggedEC2Resource):
            tags = {**self.tags, "aws:cloudformation:logical-id": name}
            tags |= {f"aws:cloudformation:stack-{each}": self[f"AWS::Stack{each.title()}"] for each in ("id", "name")}
            backend = ec2_models.ec2_backends[self._account_id][self._region_name]
            backend.create_tags([made.physical_resource_id], tags)
        return made

    def change(self, name: str, resource: Any) -> Any:
        """Bring a resource of moto's up to this template; moto's own way is to make another one in its place."""
        self.put(name, resource)
        kind = makes(self._resource_json_map[name]["Type"])
        if hasattr(kind.update_from_cloudformation_json, "__isabstractmethod__"):
            self.unmake(name, resource)
            self.put(name, None)
            return self.make(name)
        return parsing.parse_and_update_resource(
            name, self._resource_json_map[name], self, self._account_id, self._region_name
        )

    def unmake(self, name: str, resource: Any) -> None:
        """Delete a resource of moto's. Raises ValueError for a kind that moto's CloudFormation does not delete."""
        kind = self._resource_json_map[name]["Type"]
        own = getattr(resource, "delete", None)
        if (own is None or len(inspect.signature(own).parameters) != 2) and hasattr(
            makes(kind).delete_from_cloudformation_json, "__isabstractmethod__"
        ):
            raise ValueError(f"The local AWS's CloudFormation does not delete {kind}: delete it by its own operations.")
        self._delete_resource(resource, self._resource_json_map[name])


def makes(kind: str) -> Any:
    """Moto's class for a kind of resource; None for one that it does not make."""
    with _quietly():
        return None if kind in parsing.NULL_MODELS else parsing.get_model_map().get(kind)


@contextlib.contextmanager
def _quietly() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _without_nothing(value: Any) -> Any:
    """AWS::NoValue leaves an item of a list out as well."""
    if isinstance(value, list):
        return [_without_nothing(each) for each in value if each is not None]
    if isinstance(value, dict):
        return {name: _without_nothing(each) for name, each in value.items()}
    return value


class Stack(MotosStack):
    """Moto's record of a stack, with what happened to each of its resources."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.ledger: dict[str, Entry] = {}
        self.status_reason: str | None = None
        self.last_updated_time: Any = None
        self.deletion_time: Any = None
        self.capabilities: list[str] = []
        super().__init__(*args, **options)
        self.set_outputs(visible=False)

    @staticmethod
    def parse_template(text: str) -> dict[str, Any]:
        return template.read(text)

    def resources_of(self, text: str, parameters: Mapping[str, str]) -> Resources:
        """What another template, or other parameters, would make of this stack. Raises AwsError, ServiceException."""
        parsed = template.read(text)
        template.check_parameters(parsed.get("Parameters") or {}, parameters)
        return self._map(parsed, dict(parameters))

    def _create_resource_map(self) -> Resources:
        return self._map(self.template_dict, self.parameters)

    def _map(self, parsed: dict[str, Any], parameters: dict[str, str]) -> Resources:
        made = Resources(
            self.stack_id,
            self.name,
            parameters,
            self.tags,
            account_id=self.account_id,
            region_name=self.region_name,
            template=parsed,
            cross_stack_resources=cloudformation_backends[self.account_id][self.region_name].exports,
        )
        made.load()
        return made

    def set_outputs(self, *, visible: bool) -> None:
        """Show the outputs as they are now, or none: CloudFormation has them once all is made."""
        self._outputs = self._made_outputs() if visible else []
        # Moto's own would be made anew at each look.
        self.output_map = OutputMap(self.resource_map, {}, self.stack_id)

    @property
    def outputs(self) -> list[dict[str, Any]] | None:
        return self._outputs or None

    def _made_outputs(self) -> list[dict[str, Any]]:
        found = []
        for name, output in self.shown_outputs():
            value = self.resource_map.clean(output.get("Value"))
            if value is None:
                continue
            about = {"OutputKey": name, "OutputValue": as_text(value)}
            if output.get("Description"):
                about["Description"] = output["Description"]
            if output.get("Export"):
                about["ExportName"] = as_text(self.resource_map.clean(output["Export"]["Name"]))
            found.append(about)
        return found

    def shown_outputs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The template's outputs whose conditions hold."""
        for name, output in (self.template_dict.get("Outputs") or {}).items():
            if "Condition" not in output or self.resource_map.lazy_condition_map[output["Condition"]]:
                yield name, output

    @property
    def parameter_list(self) -> list[dict[str, Any]]:
        resources = self.resource_map
        return [
            {
                "ParameterKey": name,
                "ParameterValue": "****" if name in resources.no_echo_parameter_keys else as_text(value),
            }
            for name, value in resources.resolved_parameters.items()
        ]

    def add_event(self, entry: Entry) -> None:
        """Tell of a resource what its entry says."""
        event = Event(
            stack_id=self.stack_id,
            stack_name=self.name,
            logical_resource_id=entry.logical_resource_id,
            physical_resource_id=entry.id,
            resource_type=entry.cf_resource_type,
            resource_status=entry.status,
            resource_status_reason=entry.reason,
            resource_properties=entry.properties_text(),
        )
        event.sendToSns(self.account_id, self.region_name, self.notification_arns)
        self.events.append(event)

    def say(self, status: str, reason: str | None = None) -> None:
        """Have the stack in a status, and tell of it."""
        self.status, self.status_reason = status, reason
        self._add_stack_event(status, resource_status_reason=reason)


def as_text(value: Any) -> str:
    """A value as an output has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(as_text, value)) if isinstance(value, list) else str(value)


def reason_of(error: Exception) -> str:
    """Why moto did not make a resource."""
    if isinstance(error, ServiceException):
        return f"{error.message} (Code: {error.code})"
    if isinstance(error, UnformattedGetAttTemplateException):
        return "Template error: it refers to an attribute that a resource does not have in Fn::GetAtt"
    return str(error) or type(error).__name__
