"""The condition keys of a call, each worked out when a policy asks for it.

Sources: IAM user guide, "AWS global condition context keys"; Service Authorization Reference, "Condition keys for ..."
of each service. A key that stands nowhere here is one that the request does not have.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from local_aws.iam.asked import Call, Question

Values = tuple[str, ...]
TagsOf = Callable[[str], Mapping[str, str] | None]
"""The tags of a resource by its ARN; None for one that is not known."""


class Asker(NamedTuple):
    """Who calls, as the condition keys say it."""

    arn: str
    """Of the user, or of the role that a session is of."""
    account: str
    kind: str
    """`aws:PrincipalType`."""
    user_id: str
    name: str | None
    """`aws:username`: a user's, and nobody else's."""
    tags: Mapping[str, str]
    issued: dt.datetime | None = None
    """When a session's token was issued."""


class Way(NamedTuple):
    """How the call came."""

    address: str
    agent: str
    secure: bool
    now: dt.datetime
    signature: str
    """`s3:authType`: REST-HEADER, REST-QUERY-STRING, or empty for an unsigned one."""
    version: str
    headers: Mapping[str, str]
    via: str = ""
    """The service of AWS's that calls on the caller's behalf, such as `cloudformation.amazonaws.com`."""


class Keys:
    """The keys of one question of a call: `get(key)` with the key in lower case."""

    __slots__ = ("_asker", "_call", "_came", "_found_way", "_known", "_question", "_tags_of")

    def __init__(
        self, call: Call, question: Question, asker: Asker | None, came: Callable[[], Way], tags_of: TagsOf
    ) -> None:
        self._call, self._question, self._asker, self._came, self._tags_of = call, question, asker, came, tags_of
        self._found_way: Way | None = None
        self._known: dict[str, Values | None] = dict(question.keys)

    @property
    def _way(self) -> Way:
        if self._found_way is None:
            self._found_way = self._came()
        return self._found_way

    @property
    def known(self) -> tuple[str, ...]:
        """Those that were asked for, in an order that is the same for the same ones."""
        return tuple(sorted(self._known))

    def get(self, key: str, /) -> Values | None:
        try:
            return self._known[key]
        except KeyError:
            found = self._known[key] = self._find(key)
            return found

    def _find(self, key: str) -> Values | None:
        of, _, name = key.partition(":")
        head, slash, tag = name.partition("/")
        if slash and head in {"requesttag", "requestobjecttag"}:
            return _one(_of(request_tags(self._call), tag))
        if slash and head in {"resourcetag", "existingobjecttag"}:
            return _one(_of(self._tags_of(self._question.resource) or {}, tag))
        if of == "aws":
            if slash and head == "principaltag":
                return _one(_of(self._asker.tags, tag)) if self._asker else None
            made = GLOBAL.get(name)
            return made(self) if made is not None else None
        member = MEMBERS.get(key)
        if member is not None:
            return _texts(_member(self._call.params, member))
        made = OTHERS.get(key)
        return made(self) if made is not None else None


def request_tags(call: Call) -> dict[str, str]:
    """The tags that a request sets."""
    params = call.params
    given: Any = params.get("Tags") or params.get("tags") or params.get("TagList") or ()
    if isinstance(given, Mapping):
        return {str(key): str(value) for key, value in given.items()}
    specified = [tag for each in params.get("TagSpecifications") or () for tag in each.get("Tags") or ()]
    return {
        each.get("Key", each.get("key", "")): each.get("Value", each.get("value", "")) or ""
        for each in [*(given if isinstance(given, list | tuple) else ()), *specified]
        if isinstance(each, Mapping)
    }


def _tag_keys(keys: Keys) -> Values | None:
    removed = keys._call.params.get("TagKeys")
    return tuple(removed or request_tags(keys._call)) or None


def _of(tags: Mapping[str, str], name: str) -> str | None:
    return next((value for key, value in tags.items() if key.lower() == name), None)


def _one(value: str | None) -> Values | None:
    return None if value is None else (value,)


def _texts(value: Any) -> Values | None:
    if value is None or value == "" or value == []:
        return None
    if isinstance(value, bool):
        return (str(value).lower(),)
    if isinstance(value, list | tuple):
        return tuple(str(each) for each in value)
    return (str(value),)


def _member(params: Any, path: str) -> Any:
    """A nested member; of a list's items all that have it."""
    for name in path.split("."):
        if isinstance(params, list):
            params = [each[name] for each in params if isinstance(each, Mapping) and each.get(name) is not None]
        elif isinstance(params, Mapping):
            params = params.get(name)
        else:
            return None
    return params


def _asked(read: Callable[[Asker], str | None]) -> Callable[[Keys], Values | None]:
    return lambda keys: None if keys._asker is None else _one(read(keys._asker))


def _secure(keys: Keys) -> Values:
    return (str(keys._way.secure).lower(),)


GLOBAL: dict[str, Callable[[Keys], Values | None]] = {
    "principalarn": _asked(lambda asker: asker.arn),
    "principalaccount": _asked(lambda asker: asker.account),
    "principaltype": _asked(lambda asker: asker.kind),
    "principalisawsservice": lambda keys: ("false",),
    "userid": _asked(lambda asker: asker.user_id),
    "username": _asked(lambda asker: asker.name),
    "tokenissuetime": _asked(lambda asker: asker.issued and f"{asker.issued:%Y-%m-%dT%H:%M:%SZ}"),
    "multifactorauthpresent": lambda keys: ("false",) if keys._asker and keys._asker.issued else None,
    "sourceip": lambda keys: _one(keys._way.address or None),
    "useragent": lambda keys: _one(keys._way.agent or None),
    "referer": lambda keys: _one(keys._way.headers.get("referer")),
    "securetransport": _secure,
    "currenttime": lambda keys: (f"{keys._way.now:%Y-%m-%dT%H:%M:%SZ}",),
    "epochtime": lambda keys: (str(int(keys._way.now.timestamp())),),
    "requestedregion": lambda keys: (keys._call.region,),
    "resourceaccount": lambda keys: (_owner(keys._question.resource) or keys._call.account,),
    "viaawsservice": lambda keys: (str(bool(keys._way.via)).lower(),),
    "calledvia": lambda keys: _one(keys._way.via or None),
    "calledviafirst": lambda keys: _one(keys._way.via or None),
    "calledvialast": lambda keys: _one(keys._way.via or None),
    "tagkeys": _tag_keys,
}


def _owner(arn: str) -> str:
    parts = arn.split(":", 5)
    return parts[4] if len(parts) == 6 else ""


def _header(name: str) -> Callable[[Keys], Values | None]:
    return lambda keys: _one(keys._way.headers.get(name))


def _profile(keys: Keys) -> Values | None:
    given = keys._call.params.get("IamInstanceProfile") or {}
    if given.get("Arn"):
        return (given["Arn"],)
    return (f"arn:aws:iam::{keys._call.account}:instance-profile/{given['Name']}",) if given.get("Name") else None


def _policy_arn(keys: Keys) -> Values | None:
    return _texts(keys._call.params.get("PolicyArn"))


# Keys that are a member of the request as it stands.
MEMBERS = {
    "s3:prefix": "Prefix", "s3:delimiter": "Delimiter", "s3:max-keys": "MaxKeys", "s3:x-amz-acl": "ACL",
    "s3:versionid": "VersionId", "s3:x-amz-copy-source": "CopySource", "s3:x-amz-storage-class": "StorageClass",
    "s3:x-amz-metadata-directive": "MetadataDirective",
    "s3:x-amz-server-side-encryption": "ServerSideEncryption",
    "s3:x-amz-server-side-encryption-aws-kms-key-id": "SSEKMSKeyId",
    "s3:locationconstraint": "CreateBucketConfiguration.LocationConstraint",
    "cloudwatch:namespace": "Namespace", "cloudwatch:alarmactions": "AlarmActions",
    "application-autoscaling:service-namespace": "ServiceNamespace",
    "application-autoscaling:scalable-dimension": "ScalableDimension",
    "ec2:metadatahttptokens": "MetadataOptions.HttpTokens", "ec2:metadatahttpendpoint": "MetadataOptions.HttpEndpoint",
    "ec2:metadatahttpputresponsehoplimit": "MetadataOptions.HttpPutResponseHopLimit",
    "ec2:instancetype": "InstanceType", "ec2:ebsoptimized": "EbsOptimized", "ec2:osuser": "InstanceOSUser",
    "ec2:tenancy": "Placement.Tenancy", "ec2:keypairname": "KeyName",
    "ec2:instancemarkettype": "InstanceMarketOptions.MarketType",
    "iam:awsservicename": "AWSServiceName", "iam:permissionsboundary": "PermissionsBoundary",
    "lambda:principal": "Principal", "lambda:functionurlauthtype": "FunctionUrlAuthType",
    "lambda:layer": "Layers", "lambda:vpcids": "VpcConfig.VpcId", "lambda:subnetids": "VpcConfig.SubnetIds",
    "lambda:securitygroupids": "VpcConfig.SecurityGroupIds",
    "sagemaker:networkisolation": "EnableNetworkIsolation", "sagemaker:modelapprovalstatus": "ModelApprovalStatus",
    "sagemaker:maxruntimeinseconds": "StoppingCondition.MaxRuntimeInSeconds",
    "sagemaker:outputkmskey": "OutputDataConfig.KmsKeyId", "sagemaker:volumekmskey": "ResourceConfig.VolumeKmsKeyId",
    "sagemaker:targetmodel": "TargetModel", "sagemaker:vpcsubnets": "VpcConfig.Subnets",
    "sagemaker:vpcsecuritygroupids": "VpcConfig.SecurityGroupIds",
    "sagemaker:intercontainertrafficencryption": "EnableInterContainerTrafficEncryption",
    "sts:externalid": "ExternalId", "sts:rolesessionname": "RoleSessionName", "sts:sourceidentity": "SourceIdentity",
    "secretsmanager:secretid": "SecretId", "secretsmanager:name": "Name", "ssm:overwrite": "Overwrite",
    "events:source": "Source", "sns:protocol": "Protocol", "sns:endpoint": "Endpoint",
    "cloudformation:changesetname": "ChangeSetName", "cloudformation:rolearn": "RoleARN",
    "cloudformation:templateurl": "TemplateURL",
}  # fmt: skip


def _instance_types(keys: Keys) -> Values | None:
    params = keys._call.params
    found = [_member(params, each) for each in ("ResourceConfig.InstanceType", "ProductionVariants.InstanceType",
                                                "TrainingJobDefinition.ResourceConfig.InstanceType")]  # fmt: skip
    return next((_texts(each) for each in found if each), None)


OTHERS: dict[str, Callable[[Keys], Values | None]] = {
    "s3:tlsversion": lambda keys: ("1.3",) if keys._way.secure else None,
    "s3:authtype": lambda keys: _one(keys._way.signature or None),
    "s3:signatureversion": lambda keys: _one(keys._way.version or None),
    "s3:x-amz-content-sha256": _header("x-amz-content-sha256"),
    "s3:resourceaccount": lambda keys: (keys._call.account,),
    "s3:requestobjecttagkeys": _tag_keys,
    "ec2:instanceprofile": _profile,
    "ec2:region": lambda keys: (keys._call.region,),
    # Every image here stands for one of AWS's.
    "ec2:owner": lambda keys: ("amazon",) if ":image/" in keys._question.resource else None,
    "iam:policyarn": _policy_arn,
    "sagemaker:instancetypes": _instance_types,
    "lambda:functionarn": lambda keys: (keys._question.resource,),
}
