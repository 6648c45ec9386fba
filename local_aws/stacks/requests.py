"""What CloudFormation's operations have in common: the stack, the template and the parameters that a call names."""

from __future__ import annotations

from typing import Any

from local_aws.errors import AwsError, of_moto
from local_aws.services.base import Call
from local_aws.stacks import registry
from local_aws.stacks.template import check_parameters, invalid, order, read, required_capability


def moto_side() -> Any:
    from local_aws.stacks import moto_side as found

    return found


def tags_of(params: dict[str, Any]) -> dict[str, str]:
    return {each["Key"]: each["Value"] for each in params.get("Tags") or ()}


def parameters_of(params: dict[str, Any], stack: Any = None) -> dict[str, str]:
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


def backend_of(call: Call) -> Any:
    return moto_side().cloudformation_backends[call.account][call.region]


def template_of(call: Call) -> str:
    """The template that a call names. Raises AwsError."""
    body, url = call.params.get("TemplateBody"), call.params.get("TemplateURL")
    if bool(body) == bool(url):
        raise invalid("Either Template URL or Template Body must be specified.")
    if body:
        return body
    try:
        with of_moto():
            found = moto_side().get_stack_from_s3_url(url, account_id=call.account, partition="aws")
    except AttributeError:
        raise invalid(f"S3 error: the object of TemplateURL {url} does not exist.") from None
    return found.decode() if isinstance(found, bytes) else found


def check_template(text: str, given: dict[str, str], params: dict[str, Any]) -> None:
    """What can be said of a template before anything is made. Raises AwsError."""
    template = read(text)
    check_parameters(template.get("Parameters") or {}, given)
    for name, resource in template["Resources"].items():
        if registry.refused(resource["Type"]):
            raise invalid(f"The local AWS's CloudFormation does not make {resource['Type']} ({name}): leave it out.")
    order(template["Resources"])
    needed = required_capability(template["Resources"])
    if needed and not {needed, "CAPABILITY_NAMED_IAM"} & set(params.get("Capabilities") or ()):
        raise AwsError("InsufficientCapabilitiesException", f"Requires capabilities : [{needed}]")


def find(backend: Any, name: str, *, deleted: bool = False) -> Any:
    """A stack by its name or id; one that is deleted has its id alone."""
    for each in backend.stacks.values():
        if name in (each.name, each.stack_id):
            return each
    return backend.deleted_stacks.get(name) if deleted else None


def stack_of(call: Call, *, deleted: bool = False) -> Any:
    name = call.params["StackName"]
    found = find(backend_of(call), name, deleted=deleted)
    if found is None:
        raise invalid(f"Stack [{name}] does not exist" if not deleted else f"Stack with id {name} does not exist")
    return found


def in_review(call: Call) -> Any:
    moto = moto_side()
    return moto.Stack(
        stack_id=moto.generate_stack_id(call.params["StackName"], call.region, call.account),
        name=call.params["StackName"],
        template={},
        parameters={},
        account_id=call.account,
        region_name=call.region,
        notification_arns=call.params.get("NotificationARNs"),
        tags=tags_of(call.params),
    )


def offset(token: str | None) -> int:
    if token is not None and not token.isdigit():
        raise invalid(f"The token {token!r} is invalid.")
    return int(token or 0)
