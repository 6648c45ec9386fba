"""Templates: read, and in which order their resources are made."""

from __future__ import annotations

import graphlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from local_aws.errors import AwsError

IN_SUB = re.compile(r"\$\{([^!}][^}]*)\}")
SECTIONS = {
    "AWSTemplateFormatVersion", "Description", "Metadata", "Parameters", "Mappings", "Conditions", "Transform",
    "Resources", "Outputs", "Rules", "Hooks",
}  # fmt: skip


def invalid(message: str) -> AwsError:
    """The error for what CloudFormation does not take."""
    return AwsError("ValidationError", message)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """YAML with CloudFormation's tags, and dates as the texts that they are."""


_Loader.yaml_implicit_resolvers = {
    first: [each for each in resolvers if each[0] != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def _tagged(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {name if name in ("Ref", "Condition") else f"Fn::{name}": value}


_Loader.add_multi_constructor("!", _tagged)


def read(text: str) -> dict[str, Any]:
    """A template, JSON or YAML, with its functions in their long forms. Raises AwsError."""
    try:
        found = yaml.load(text, Loader=_Loader)  # a safe one
    except yaml.YAMLError as error:
        raise invalid(f"Template format error: YAML not well-formed. ({_place(error)})") from None
    if not isinstance(found, dict):
        raise invalid("Template format error: unsupported structure.")
    unknown = sorted(str(name) for name in found if name not in SECTIONS)
    if unknown:
        raise invalid(f"Invalid template property or properties [{', '.join(unknown)}]")
    if found.get("Transform"):
        raise invalid(f"Transform {found['Transform']}: the local AWS's CloudFormation carries out no macros.")
    if not found.get("Resources"):
        raise invalid("Template format error: At least one Resources member must be defined.")
    for name, resource in found["Resources"].items():
        if not isinstance(resource, dict) or not isinstance(resource.get("Type"), str):
            raise invalid(f"Template format error: [/Resources/{name}/Type] 'null' values are not allowed in templates")
    return _whole_attributes(found)


def _place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else str(error).splitlines()[0]


def _whole_attributes(value: Any) -> Any:
    """`A.B.C` names the attribute B.C of A, which moto takes apart."""
    if isinstance(value, list):
        return [_whole_attributes(each) for each in value]
    if not isinstance(value, dict):
        return value
    got = value.get("Fn::GetAtt")
    if len(value) == 1 and got:
        parts = got.split(".") if isinstance(got, str) else got
        if all(isinstance(each, str) for each in parts):
            return {"Fn::GetAtt": [parts[0], ".".join(parts[1:])]}
    return {name: _whole_attributes(each) for name, each in value.items()}


def references(value: Any) -> Iterator[tuple[str, str | None]]:
    """(name, attribute) of everything that a part of a template refers to; no attribute where it is a Ref."""
    if isinstance(value, list):
        for each in value:
            yield from references(each)
    elif isinstance(value, Mapping):
        if "Ref" in value:
            yield value["Ref"], None
        elif "Fn::GetAtt" in value:
            name, attribute = value["Fn::GetAtt"]
            yield name, attribute if isinstance(attribute, str) else None
            yield from references(attribute)
        elif "Fn::Sub" in value:
            text, own = value["Fn::Sub"], {}
            if isinstance(text, list):
                text, own = text
            for found in IN_SUB.findall(text):
                name, _, attribute = found.strip().partition(".")
                if found.strip() not in own:
                    yield name, attribute or None
            yield from references(own)
        else:
            for each in value.values():
                yield from references(each)


def order(resources: Mapping[str, Any]) -> list[str]:
    """The resources' names, each after those that it refers to or depends on. Raises AwsError for a circle."""
    graph = {}
    for name, resource in resources.items():
        depends = resource.get("DependsOn") or []
        needed = {each for each, _ in references(resource.get("Properties"))}
        needed |= {depends} if isinstance(depends, str) else set(depends)
        graph[name] = sorted(each for each in needed if each in resources)
    try:
        return list(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        circle = ", ".join(sorted(set(error.args[1])))
        raise invalid(f"Circular dependency between resources: [{circle}]") from None


def check_parameters(declared: Mapping[str, Any], given: Mapping[str, str]) -> None:
    """Raise AwsError for a parameter that is unknown, missing, or not what its declaration says."""
    unknown = sorted(given.keys() - declared.keys())
    if unknown:
        raise invalid(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    missing = [name for name, rule in declared.items() if name not in given and "Default" not in rule]
    if missing:
        raise invalid(f"Parameters: [{', '.join(missing)}] must have values")
    for name, rule in declared.items():
        if not str(rule.get("Type", "String")).startswith("AWS::SSM::"):
            _check_parameter(name, rule, str(given.get(name, rule.get("Default"))))


def _check_parameter(name: str, rule: Mapping[str, Any], value: str) -> None:
    why = rule.get("ConstraintDescription")
    several = rule.get("Type", "String") == "CommaDelimitedList"
    allowed = [str(each) for each in rule.get("AllowedValues") or ()]
    if allowed and any(each not in allowed for each in (value.split(",") if several else [value])):
        raise invalid(f"Parameter '{name}' must be one of AllowedValues" if not why else _failed(name, why))
    if rule.get("Type") == "Number":
        try:
            number = float(value)
        except ValueError:
            raise invalid(f"Parameter '{name}' must be a number.") from None
        if not float(rule.get("MinValue", number)) <= number <= float(rule.get("MaxValue", number)):
            low, high = rule.get("MinValue", "-"), rule.get("MaxValue", "-")
            raise invalid(_failed(name, why or f"a number from {low} to {high}"))
    elif rule.get("Type", "String") == "String":
        if "AllowedPattern" in rule and not re.fullmatch(rule["AllowedPattern"], value):
            raise invalid(
                _failed(name, why or f"Member must satisfy regular expression pattern: {rule['AllowedPattern']}")
            )
        if not int(rule.get("MinLength", 0)) <= len(value) <= int(rule.get("MaxLength", len(value))):
            low, high = rule.get("MinLength", 0), rule.get("MaxLength", "-")
            raise invalid(_failed(name, why or f"a text of {low} to {high} characters"))


def _failed(name: str, constraint: str) -> str:
    return f"Parameter '{name}' failed to satisfy constraint: {constraint}"


def required_capability(resources: Mapping[str, Any]) -> str | None:
    """What a caller has to acknowledge of a template: IAM's resources, and named ones."""
    names = {
        "AWS::IAM::Role": "RoleName", "AWS::IAM::User": "UserName", "AWS::IAM::Group": "GroupName",
        "AWS::IAM::ManagedPolicy": "ManagedPolicyName", "AWS::IAM::InstanceProfile": "InstanceProfileName",
        "AWS::IAM::Policy": None, "AWS::IAM::AccessKey": None, "AWS::IAM::UserToGroupAddition": None,
    }  # fmt: skip
    found = [each for each in resources.values() if each["Type"] in names]
    if any((names[each["Type"]] or "") in (each.get("Properties") or {}) for each in found):
        return "CAPABILITY_NAMED_IAM"
    return "CAPABILITY_IAM" if found else None
