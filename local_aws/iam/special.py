"""What calls ask for whose resources are named otherwise than a table can say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from local_aws.iam import scaling
from local_aws.iam.asked import EC2_IDS, NO_KEYS, Call, Question, resources
from local_aws.iam.table import kinds

Asking = Callable[[Call, tuple[str, ...]], Iterator[Question]]


def _s3(call: Call, needed: tuple[str, ...]) -> Iterator[Question]:
    """S3 user guide, "Required permissions for Amazon S3 API operations"."""
    params, (action,) = call.params, needed[:1]
    bucket, key = params.get("Bucket"), params.get("Key")
    if not bucket:
        yield Question(action, "*", NO_KEYS)
        return
    container = f"arn:aws:s3:::{bucket}"
    if call.operation == "DeleteObjects":
        for each in (params.get("Delete") or {}).get("Objects") or ():
            name = "s3:DeleteObjectVersion" if each.get("VersionId") else action
            yield Question(name, f"{container}/{each['Key']}", NO_KEYS)
        return
    about_object = key is not None and any(kind.name == "object" for kind in kinds(action))
    if about_object and params.get("VersionId") and call.operation in VERSIONED:
        action = VERSIONED[call.operation]
    yield Question(action, f"{container}/{key}" if about_object else container, NO_KEYS)
    if call.operation in WRITES:
        for member, further in WRITES[call.operation].items():
            if params.get(member):
                yield Question(further, f"{container}/{key}", NO_KEYS)
    if call.operation in {"CopyObject", "UploadPartCopy"}:
        source, _, version = str(params.get("CopySource") or "").lstrip("/").partition("?versionId=")
        yield Question("s3:GetObjectVersion" if version else "s3:GetObject", f"arn:aws:s3:::{source}", NO_KEYS)


VERSIONED = {
    "GetObject": "s3:GetObjectVersion", "HeadObject": "s3:GetObjectVersion", "DeleteObject": "s3:DeleteObjectVersion",
    "GetObjectTagging": "s3:GetObjectVersionTagging", "PutObjectTagging": "s3:PutObjectVersionTagging",
    "DeleteObjectTagging": "s3:DeleteObjectVersionTagging", "GetObjectAcl": "s3:GetObjectVersionAcl",
}  # fmt: skip
_ACLS = {name: "s3:PutObjectAcl" for name in ("ACL", "GrantFullControl", "GrantRead", "GrantReadACP", "GrantWriteACP")}
WRITES = {
    name: {"Tagging": "s3:PutObjectTagging", **_ACLS} for name in ("PutObject", "CopyObject", "CreateMultipartUpload")
}


def _lambda(call: Call, needed: tuple[str, ...]) -> Iterator[Question]:
    """A function by its name, its ARN or a part of it, with the qualifier that the request gives."""
    name = call.params.get("FunctionName")
    if "VersionNumber" in call.params:
        layer = str(call.params.get("LayerName")).rpartition(":layer:")[2]
        arn = f"arn:aws:lambda:{call.region}:{call.account}:layer:{layer}:{call.params['VersionNumber']}"
        yield from (Question(action, arn, NO_KEYS) for action in needed)
        return
    # Lambda developer guide, "Working with layers": whoever gives a function a layer may get it.
    for arn in call.params.get("Layers") or ():
        yield Question("lambda:GetLayerVersion", arn, NO_KEYS)
    if name is None:
        for action in needed:
            for arn in resources(call, action):
                yield Question(action, arn, NO_KEYS)
        return
    # ARN, ACCOUNT:function:NAME or NAME, each with a qualifier behind it.
    parts = name.split(":")
    at = parts.index("function") + 1 if "function" in parts else 0
    function, qualifier = parts[at], call.params.get("Qualifier") or next(iter(parts[at + 1 :]), None)
    arn = f"arn:aws:lambda:{call.region}:{call.account}:function:{function}"
    for action in needed:
        yield Question(action, f"{arn}:{qualifier}" if qualifier else arn, NO_KEYS)


def _run_instances(call: Call, needed: tuple[str, ...]) -> Iterator[Question]:
    """EC2 user guide, "Example policies": RunInstances asks about each thing that it makes or uses."""
    params, start = call.params, f"arn:aws:ec2:{call.region}:{call.account}"
    tags = {each.get("ResourceType"): each.get("Tags") or [] for each in params.get("TagSpecifications") or ()}
    (action,) = needed
    yield Question(action, f"{start}:instance/*", _requested(tags.get("instance", ())))
    yield Question(action, f"{start}:volume/*", _requested(tags.get("volume", ())) | _encrypted(params))
    yield Question(action, f"{start}:network-interface/*", _requested(tags.get("network-interface", ())))
    if params.get("ImageId"):
        yield Question(action, f"arn:aws:ec2:{call.region}::image/{params['ImageId']}", NO_KEYS)
    interfaces = params.get("NetworkInterfaces") or ()
    groups = [
        *(params.get("SecurityGroupIds") or ()),
        *(each for one in interfaces for each in one.get("Groups") or ()),
    ]
    for group in groups:
        yield Question(action, f"{start}:security-group/{group}", NO_KEYS)
    subnets = [params.get("SubnetId"), *(one.get("SubnetId") for one in interfaces)]
    for subnet in {each for each in subnets if each} or {"*"}:
        yield Question(action, f"{start}:subnet/{subnet}", NO_KEYS)
    if params.get("KeyName"):
        yield Question(action, f"{start}:key-pair/{params['KeyName']}", NO_KEYS)
    if (params.get("InstanceMarketOptions") or {}).get("MarketType") == "spot":
        yield Question(action, f"{start}:spot-instances-request/*", _requested(tags.get("spot-instances-request", ())))
    for kind, given in tags.items():
        keys = {"ec2:createaction": ("RunInstances",), **_requested(given)}
        yield Question("ec2:CreateTags", f"{start}:{kind}/*", keys)


def _requested(tags: Any) -> dict[str, tuple[str, ...]]:
    found = {f"aws:requesttag/{each['Key'].lower()}": (each.get("Value", ""),) for each in tags}
    return found | ({"aws:tagkeys": tuple(each["Key"] for each in tags)} if tags else {})


def _encrypted(params: Any) -> dict[str, tuple[str, ...]]:
    disks = [each["Ebs"] for each in params.get("BlockDeviceMappings") or () if each.get("Ebs")]
    encrypted = bool(disks) and all(each.get("Encrypted") for each in disks)
    return {"ec2:encrypted": (str(encrypted).lower(),)}


def _ec2_tags(call: Call, needed: tuple[str, ...]) -> Iterator[Question]:
    """CreateTags and DeleteTags name their resources by ids alone."""
    for each in call.params.get("Resources") or ():
        kind = EC2_IDS.get(each.partition("-")[0])
        region = f"arn:aws:ec2:{call.region}:{'' if kind == 'image' else call.account}"
        for action in needed:
            yield Question(action, f"{region}:{kind}/{each}" if kind else "*", NO_KEYS)


def _of_group(call: Call, needed: tuple[str, ...]) -> Iterator[Question]:
    """A version of a model has no number before it is made, and a list is of all of a group."""
    group = call.params.get("ModelPackageGroupName")
    for action in needed:
        if group is None:
            for arn in resources(call, action):
                yield Question(action, arn, NO_KEYS)
            continue
        start, name = f"arn:aws:sagemaker:{call.region}:{call.account}", group.rpartition("/")[2]
        yield Question(action, f"{start}:model-package/{name}/*", NO_KEYS)
        if call.operation == "CreateModelPackage":
            yield Question(action, f"{start}:model-package-group/{name}", NO_KEYS)


def _parameter(call: Call, needed: tuple[str, ...]) -> Iterator[Question]:
    """Public parameters are nobody's: their ARNs have no account (Systems Manager user guide, "Public parameters")."""
    given = [call.params.get("Name"), call.params.get("Path"), *(call.params.get("Names") or ())]
    for name in [each for each in given if each] or ["*"]:
        path = name.partition(":")[0].lstrip("/") if not name.startswith("arn:") else ""
        account = "" if path.startswith("aws/service") else call.account
        arn = f"arn:aws:ssm:{call.region}:{account}:parameter/{path}" if path else name
        for action in needed:
            yield Question(action, arn, NO_KEYS)


def _rule(call: Call, needed: tuple[str, ...]) -> Iterator[Question]:
    rule, bus = call.params.get("Rule") or call.params.get("Name"), call.params.get("EventBusName") or "default"
    where = "" if bus.rpartition("/")[2] == "default" else f"{bus.rpartition('/')[2]}/"
    for action in needed:
        yield Question(action, f"arn:aws:events:{call.region}:{call.account}:rule/{where}{rule or '*'}", NO_KEYS)


QUESTIONS: dict[tuple[str, str], Asking] = {
    ("s3", "*"): _s3,
    ("lambda", "*"): _lambda,
    ("ec2", "RunInstances"): _run_instances,
    ("ec2", "CreateTags"): _ec2_tags,
    ("ec2", "DeleteTags"): _ec2_tags,
    ("sagemaker", "CreateModelPackage"): _of_group,
    ("sagemaker", "ListModelPackages"): _of_group,
    **{("ssm", each): _parameter for each in ("GetParameter", "GetParameters", "GetParametersByPath", "PutParameter",
                                              "DeleteParameter", "DeleteParameters", "GetParameterHistory")},
    **{("events", each): _rule for each in ("PutRule", "DeleteRule", "DescribeRule", "EnableRule", "DisableRule",
                                            "PutTargets", "RemoveTargets", "ListTargetsByRule")},
    **{("application-autoscaling", each): scaling.asked for each in (
        "RegisterScalableTarget", "DeregisterScalableTarget", "PutScalingPolicy", "DeleteScalingPolicy")},
}  # fmt: skip


def further(call: Call) -> Iterator[Question]:
    """What a call needs besides, of other services."""
    if call.service == "lambda" and call.operation in {"CreateFunction", "UpdateFunctionCode"}:
        code = call.params.get("Code") or call.params
        if code.get("S3Bucket") and code.get("S3Key"):
            # Lambda developer guide, "Deployment package": the caller's own permission.
            yield Question("s3:GetObject", f"arn:aws:s3:::{code['S3Bucket']}/{code['S3Key']}", NO_KEYS)
