"""The policies of the templates in infra/, with CloudFormation's functions resolved: per stack and role what it may do.

No stack is made for this, so names that AWS draws are stand-ins. That the result is what IAM gets is held against a
stack in the local AWS (tests/tools/iam/test_templates.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tools.cloudformation import FOLDER, load

ACCOUNT, REGION, PARTITION = "123456789012", "us-east-1", "aws"
PROJECT, ELSEWHERE = "musher", "pictures-of-others"
GROUP = "sg-ID"
"""Stands for the id of every security group, as in the recording."""
PARAMETERS = {
    "ProjectName": PROJECT, "SshCidr": "127.0.0.1/32", "DatasetBucket": ELSEWHERE, "Repository": "owner/name",
    "SubnetIds": "subnet-1,subnet-2", "VpcId": "", "PluginsPath": "mwaa/plugins.zip",
}  # fmt: skip
POLICIES = ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy")
IN_SUB = re.compile(r"\$\{(!?)([^}]*)\}")


@dataclass
class Role:
    """A role as one stack leaves it.

    `policies` are documents by their resource's name in the template; `trust` is None where another stack has the role.
    """

    stack: str
    name: str
    policies: dict[str, dict[str, Any]] = field(default_factory=dict)
    trust: dict[str, Any] | None = None

    @property
    def arn(self) -> str:
        return f"arn:{PARTITION}:iam::{ACCOUNT}:role/{self.name}"


class Template:
    """A template with parameters: its parts can be asked for as CloudFormation would give them.

    Parameters: `given` go before the template's defaults; what has neither is empty.
    """

    def __init__(self, file: str, given: Mapping[str, str] = PARAMETERS) -> None:
        self.file, self.template = file, load((FOLDER / file).read_text())
        self.resources: dict[str, Any] = self.template["Resources"]
        declared = self.template.get("Parameters", {})
        self.parameters = {name: str(given.get(name, rule.get("Default", ""))) for name, rule in declared.items()}

    def there(self, name: str) -> bool:
        """Whether a resource is made."""
        condition = self.resources[name].get("Condition")
        return condition is None or self._holds(condition)

    def get(self, value: Any) -> Any:
        """A part of the template with its functions resolved; NoValue is None, and left out of objects and lists."""
        if isinstance(value, list):
            return [each for each in map(self.get, value) if each is not None]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((kind, inner),) = value.items()
            if kind in FUNCTIONS:
                return FUNCTIONS[kind](self, inner)
        found = {key: self.get(each) for key, each in value.items()}
        return {key: each for key, each in found.items() if each is not None}

    def ref(self, name: str) -> Any:
        pseudo = {"AWS::AccountId": ACCOUNT, "AWS::Region": REGION, "AWS::Partition": PARTITION,
                  "AWS::URLSuffix": "amazonaws.com"}  # fmt: skip
        if name == "AWS::NoValue":
            return None
        if name in pseudo or name in self.parameters:
            return pseudo.get(name) or self.parameters[name]
        resource = self.resources[name]
        if resource["Type"] in {"AWS::SNS::Topic", "AWS::IAM::ManagedPolicy", "AWS::IAM::OIDCProvider"}:
            return self._arn(name)
        return self._name(name)

    def attribute(self, name: str, attribute: str) -> str:
        if attribute == "GroupId":
            return GROUP
        if attribute != "Arn":
            raise ValueError(f"{self.file}: nobody here knows the attribute {attribute} of {name}.")
        return self._arn(name)

    def _name(self, name: str) -> str:
        properties = self.resources[name]["Properties"]
        (found,) = (key for key in properties if key in NAMES)
        return self.get(properties[found])

    def _arn(self, name: str) -> str:
        kind = self.resources[name]["Type"]
        if kind == "AWS::IAM::OIDCProvider":
            host = self.resources[name]["Properties"]["Url"].removeprefix("https://")
            return f"arn:{PARTITION}:iam::{ACCOUNT}:oidc-provider/{host}"
        return ARNS[kind].format(partition=PARTITION, region=REGION, account=ACCOUNT, name=self._name(name))

    def _holds(self, condition: str) -> bool:
        return bool(self.get(self.template["Conditions"][condition]))

    def _if(self, inner: list[Any]) -> Any:
        condition, yes, no = inner
        return self.get(yes if self._holds(condition) else no)

    def _sub(self, inner: Any) -> str:
        text, own = inner if isinstance(inner, list) else (inner, {})
        own = self.get(own)

        def value(found: re.Match[str]) -> str:
            name, _, attribute = found[2].partition(".")
            if found[1]:
                return f"${{{found[2]}}}"
            if found[2] in own:
                return own[found[2]]
            return self.attribute(name, attribute) if attribute else str(self.ref(name))

        return IN_SUB.sub(value, text)

    def _find(self, inner: list[Any]) -> Any:
        table, first, second = self.get(inner)
        return self.template["Mappings"][table][first][second]

    def _select(self, inner: list[Any]) -> Any:
        number, values = self.get(inner)
        return values[int(number)]

    def _split(self, inner: list[Any]) -> list[str]:
        separator, text = self.get(inner)
        return text.split(separator)

    def _equals(self, inner: list[Any]) -> bool:
        left, right = self.get(inner)
        return str(left) == str(right)


NAMES = {"RoleName", "BucketName", "InstanceProfileName", "TopicName", "ManagedPolicyName", "LogGroupName"}
ARNS = {
    "AWS::IAM::Role": "arn:{partition}:iam::{account}:role/{name}",
    "AWS::IAM::InstanceProfile": "arn:{partition}:iam::{account}:instance-profile/{name}",
    "AWS::IAM::ManagedPolicy": "arn:{partition}:iam::{account}:policy/{name}",
    "AWS::S3::Bucket": "arn:{partition}:s3:::{name}",
    "AWS::SNS::Topic": "arn:{partition}:sns:{region}:{account}:{name}",
}
FUNCTIONS = {
    "Ref": Template.ref, "Fn::GetAtt": lambda template, inner: template.attribute(*inner), "Fn::If": Template._if,
    "Fn::Sub": Template._sub, "Fn::FindInMap": Template._find, "Fn::Select": Template._select,
    "Fn::Split": Template._split, "Fn::Equals": Template._equals,
    "Fn::Not": lambda template, inner: not template.get(inner[0]),
}  # fmt: skip


def roles(template: Template) -> list[Role]:
    """The roles that a stack gives policies, the one with the most first."""
    found: dict[str, Role] = {}
    for name, resource in template.resources.items():
        if resource["Type"] == "AWS::IAM::Role":
            role = template.ref(name)
            found[role] = Role(
                template.file, role, trust=template.get(resource["Properties"]["AssumeRolePolicyDocument"])
            )
    for name, resource in template.resources.items():
        if resource["Type"] in POLICIES and template.there(name):
            properties = resource["Properties"]
            for role in template.get(properties.get("Roles", [])):
                held = found.setdefault(role, Role(template.file, role))
                held.policies[name] = template.get(properties["PolicyDocument"])
    return sorted((each for each in found.values() if each.policies), key=lambda each: -len(each.policies))


def boundary() -> dict[str, Any]:
    """What the roles may do at most, where github.yaml is deployed."""
    template = Template("github.yaml")
    return template.get(template.resources["Boundary"]["Properties"]["PolicyDocument"])


def every_role() -> list[Role]:
    """The roles of all templates; that of Airflow twice, since its environment on MWAA adds to it."""
    return [role for file in ("musher.yaml", "mwaa.yaml", "github.yaml") for role in roles(Template(file))]
