"""What every policy of the template has to keep to; each rule gives a sentence for each statement that does not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# A resource is the project's own when its ARN carries the project's name, or comes from a resource of the template.
OWN = re.compile(r"\$\{(ProjectName|SubnetId|DatasetBucket|[A-Z]\w+\.(Arn|GroupId))\}")
# A role of the template itself, or one of the main template's, by its whole name.
ROLE = re.compile(r"^\$\{\w+Role\.Arn\}$|:role/\$\{ProjectName\}-[a-z0-9]+$")
# Who a token has to be from, so that not everybody with one may take a role.
TOKEN = ("token.actions.githubusercontent.com:aud", "token.actions.githubusercontent.com:sub")
# What a boundary may leave: nothing that changes who may do what, nor takes another role.
BOUNDED = re.compile(
    r"(?!iam:|sts:|organizations:|\*)"
    r"|iam:(Get\*|List\*|PassRole|CreateServiceLinkedRole|GenerateServiceLastAccessedDetails)$"
)
SECRETS = re.compile(r"AKIA[0-9A-Z]{16}|-----BEGIN|(?i:password|passwd|secret|api.?key|private.?key)\b")


@dataclass(frozen=True)
class Statement:
    """A statement of a policy that is attached to a role."""

    resource: str
    text: Mapping[str, Any]
    reasons: Mapping[str, str]

    @property
    def name(self) -> str:
        return f"{self.resource}.{self.text.get('Sid', '?')}"

    @property
    def actions(self) -> list[str]:
        return as_list(self.text["Action"])

    @property
    def open_resources(self) -> list[str]:
        """Resources that are `*`, or have a wildcard and nothing that makes them the project's."""
        return [each for each in arns(self.text["Resource"]) if "*" in each and not OWN.search(each)]


ACCOUNT = {
    "AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": "111122223333", "ProjectName": "musher",
    "ImageAccount": "763104351884", "ImageRepository": "my/pytorch",
    "Bucket.Arn": "arn:aws:s3:::pictures", "Ec2SecurityGroup.GroupId": "sg-0a1b",
    "DatasetBucket": "other-pictures", "SubnetId": "subnet-0a1b",
}  # fmt: skip


def filled_in(value: Any) -> Any:
    """A template with the `${...}` of its ARNs replaced: cfn-lint compares only ARNs in full with their actions."""
    if isinstance(value, list):
        return [filled_in(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value == {"Fn::GetAtt": ["Bucket", "Arn"]}:
        return ACCOUNT["Bucket.Arn"]
    text = value.get("Fn::Sub", "")
    text = text[0] if isinstance(text, list) else text
    if text.startswith(("arn:", "${Bucket.Arn}")):
        return re.sub(r"\$\{([^}]+)\}", lambda found: ACCOUNT[found[1]], text)
    return {key: filled_in(each) for key, each in value.items()}


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def arns(value: Any) -> list[str]:
    """Every ARN that a `Resource` may come to, as text with its `${...}`; both sides of an `Fn::If`."""
    if isinstance(value, list):
        return [arn for each in value for arn in arns(each)]
    if isinstance(value, dict):
        ((kind, inner),) = value.items()
        if kind == "Fn::If":
            return arns(inner[1:])
        if kind == "Fn::Sub" and isinstance(inner, list):
            inner = inner[0]
        return [f"${{{'.'.join(inner)}}}" if kind == "Fn::GetAtt" else str(inner)]
    return [value]


def statements(template: Mapping[str, Any]) -> Iterator[Statement]:
    """The statements of every policy that a role gets."""
    for name, resource in template["Resources"].items():
        reasons = resource.get("Metadata", {}).get("OpenResources", {})
        if resource["Type"] in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy") and not is_boundary(resource):
            for statement in resource["Properties"]["PolicyDocument"]["Statement"]:
                yield Statement(name, statement, reasons)


def is_boundary(resource: Mapping[str, Any]) -> bool:
    """Whether a resource is a policy that no role gets: it grants nothing, and says what a role may have at most."""
    return resource["Type"] == "AWS::IAM::ManagedPolicy" and "Roles" not in resource["Properties"]


def broken(template: Mapping[str, Any]) -> list[str]:
    """Every rule that the template does not keep."""
    found = [sentence for each in statements(template) for sentence in _statement(each)]
    for name, resource in template["Resources"].items():
        found += _resource(name, resource)
    text = json.dumps(template["Resources"]) + json.dumps(template.get("Parameters", {}))
    text = re.sub(r"AWS::SecretsManager::Secret|secretsmanager:\w+|:secret:", "", text)  # a type, actions, an ARN
    found += [f"{secret.group()!r} looks like a secret" for secret in SECRETS.finditer(text)]
    return found


def _statement(each: Statement) -> Iterator[str]:
    if "Sid" not in each.text:
        yield f"{each.name} has no Sid to say why it is there"
    if each.text["Effect"] != "Allow" or {"NotAction", "NotResource"} & each.text.keys():
        yield f"{each.name} allows by leaving out"
    yield from (f"{each.name} has the action {action}" for action in each.actions if "*" in action)
    why = each.reasons.get(each.text.get("Sid", ""), "")
    if each.open_resources and len(why.split()) < 5:
        yield f"{each.name} is open ({each.open_resources[0]}) without a reason"
    if why and not each.open_resources:
        yield f"{each.name} has a reason for being open, and is not"
    if "iam:PassRole" in each.actions:
        service = each.text.get("Condition", {}).get("StringEquals", {}).get("iam:PassedToService")
        if each.actions != ["iam:PassRole"] or not service:
            yield f"{each.name} passes roles without naming the service"
        if not all(ROLE.search(arn) for arn in arns(each.text["Resource"])):
            yield f"{each.name} passes roles that are not the template's"


def _resource(name: str, resource: Mapping[str, Any]) -> Iterator[str]:
    properties = resource["Properties"]
    if resource["Type"] in ("AWS::IAM::User", "AWS::IAM::AccessKey", "AWS::IAM::Group"):
        yield f"{name} makes credentials that do not end"
    if resource["Type"] == "AWS::IAM::Role":
        if properties.keys() & {"ManagedPolicyArns", "Policies"}:
            yield f"{name} has policies that no rule looks at"
        for statement in properties["AssumeRolePolicyDocument"]["Statement"]:
            if "*" in json.dumps(statement["Principal"]) or not _names_who(statement):
                yield f"{name} may be taken by anybody"
    if is_boundary(resource):
        found = properties["PolicyDocument"]["Statement"]
        actions = [action for each in found for action in as_list(each["Action"])]
        yield from (f"{name} bounds nothing: {each}" for each in actions if not BOUNDED.match(each))
    if resource["Type"] == "AWS::S3::BucketPolicy":
        allows = [each for each in properties["PolicyDocument"]["Statement"] if each["Effect"] != "Deny"]
        yield from (f"{name} allows {each['Action']}" for each in allows)


def _names_who(statement: Mapping[str, Any]) -> bool:
    """Whether a trust policy's statement says who may take the role: a principal, or a token's audience and subject."""
    if statement["Action"] == "sts:AssumeRole":
        return "Federated" not in statement["Principal"]
    named = statement.get("Condition", {}).get("StringEquals", {})
    exact = all(key in named and "*" not in json.dumps(named[key]) for key in TOKEN)
    return statement["Action"] == "sts:AssumeRoleWithWebIdentity" and exact
