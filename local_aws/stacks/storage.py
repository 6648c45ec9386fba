"""S3's buckets, with how they are configured."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from local_aws.stacks.kinds import Failed, Kind, Steps, Work, gone

Configuration = tuple[str, str, Callable[[Any], Any], str | None]
"""(operation that sets it, its member, from the template's form to the operation's, operation that removes it)."""


def _as_it_is(given: Any) -> Any:
    return given


def _encryption(given: Mapping[str, Any]) -> dict[str, Any]:
    rules = []
    for each in given["ServerSideEncryptionConfiguration"]:
        rule = {name: value for name, value in each.items() if name != "ServerSideEncryptionByDefault"}
        if "ServerSideEncryptionByDefault" in each:
            rule["ApplyServerSideEncryptionByDefault"] = each["ServerSideEncryptionByDefault"]
        rules.append(rule)
    return {"Rules": rules}


def _renamed(names: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in given.items()}


def _cors(given: Mapping[str, Any]) -> dict[str, Any]:
    names = {"ExposedHeaders": "ExposeHeaders", "Id": "ID", "MaxAge": "MaxAgeSeconds"}
    return {"CORSRules": [_renamed(names, each) for each in given["CorsRules"]]}


def _lifecycle(given: Mapping[str, Any]) -> dict[str, Any]:
    return {"Rules": [_lifecycle_rule(each) for each in given["Rules"]]}


EXPIRATION = {
    "ExpirationInDays": "Days", "ExpirationDate": "Date", "ExpiredObjectDeleteMarker": "ExpiredObjectDeleteMarker",
}  # fmt: skip
TRANSITION = {"TransitionInDays": "Days", "TransitionDate": "Date"}
CHOSEN_BY = {"Prefix", "TagFilters", "ObjectSizeGreaterThan", "ObjectSizeLessThan"}


def _lifecycle_rule(given: Mapping[str, Any]) -> dict[str, Any]:
    """A rule of a template; what chooses its objects is the operation's Filter."""
    rule: dict[str, Any] = {"Status": given["Status"]}
    if "Id" in given:
        rule["ID"] = given["Id"]
    chosen = {name: given[name] for name in ("Prefix", "ObjectSizeGreaterThan", "ObjectSizeLessThan") if name in given}
    tags = given.get("TagFilters") or []
    if len(chosen) + len(tags) > 1:
        rule["Filter"] = {"And": {**chosen, **({"Tags": tags} if tags else {})}}
    else:
        rule["Filter"] = {"Tag": tags[0]} if tags else (chosen or {"Prefix": ""})
    if expiration := {EXPIRATION[name]: given[name] for name in EXPIRATION if name in given}:
        rule["Expiration"] = expiration
    transitions = [*given.get("Transitions", ()), *([given["Transition"]] if "Transition" in given else ())]
    if transitions:
        rule["Transitions"] = [_renamed(TRANSITION, each) for each in transitions]
    noncurrent = given.get("NoncurrentVersionExpiration")
    if "NoncurrentVersionExpirationInDays" in given:
        noncurrent = {"NoncurrentDays": given["NoncurrentVersionExpirationInDays"]}
    if noncurrent:
        rule["NoncurrentVersionExpiration"] = noncurrent
    moved = [*given.get("NoncurrentVersionTransitions", ())]
    if "NoncurrentVersionTransition" in given:
        moved.append(given["NoncurrentVersionTransition"])
    if moved:
        rule["NoncurrentVersionTransitions"] = [
            _renamed({"TransitionInDays": "NoncurrentDays"}, each) for each in moved
        ]
    if "AbortIncompleteMultipartUpload" in given:
        rule["AbortIncompleteMultipartUpload"] = given["AbortIncompleteMultipartUpload"]
    known = {
        "Status", "Id", "Transitions", "Transition", "NoncurrentVersionExpiration", "NoncurrentVersionTransition",
        "NoncurrentVersionExpirationInDays", "NoncurrentVersionTransitions", "AbortIncompleteMultipartUpload",
    }  # fmt: skip
    for name in given:
        if name not in known | CHOSEN_BY | EXPIRATION.keys():
            raise Failed(f"The local AWS's CloudFormation does not carry out {name} of a lifecycle rule: leave it out.")
    return rule


def _notifications(given: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, member, target, operations_target in (
        ("LambdaConfigurations", "LambdaFunctionConfigurations", "Function", "LambdaFunctionArn"),
        ("QueueConfigurations", "QueueConfigurations", "Queue", "QueueArn"),
        ("TopicConfigurations", "TopicConfigurations", "Topic", "TopicArn"),
    ):
        for each in given.get(name, ()):
            one: dict[str, Any] = {operations_target: each[target], "Events": [each["Event"]]}
            rules = ((each.get("Filter") or {}).get("S3Key") or {}).get("Rules")
            if rules:
                one["Filter"] = {"Key": {"FilterRules": rules}}
            found.setdefault(member, []).append(one)
    if "EventBridgeConfiguration" in given:
        found["EventBridgeConfiguration"] = {}
    return found


CONFIGURATIONS: dict[str, Configuration] = {
    "VersioningConfiguration": ("PutBucketVersioning", "VersioningConfiguration", _as_it_is, None),
    "BucketEncryption": (
        "PutBucketEncryption", "ServerSideEncryptionConfiguration", _encryption, "DeleteBucketEncryption",
    ),
    "OwnershipControls": (
        "PutBucketOwnershipControls", "OwnershipControls", _as_it_is, "DeleteBucketOwnershipControls",
    ),
    "PublicAccessBlockConfiguration": (
        "PutPublicAccessBlock", "PublicAccessBlockConfiguration", _as_it_is, "DeletePublicAccessBlock",
    ),
    "LifecycleConfiguration": (
        "PutBucketLifecycleConfiguration", "LifecycleConfiguration", _lifecycle, "DeleteBucketLifecycle",
    ),
    "CorsConfiguration": ("PutBucketCors", "CORSConfiguration", _cors, "DeleteBucketCors"),
    "NotificationConfiguration": (
        "PutBucketNotificationConfiguration", "NotificationConfiguration", _notifications, None,
    ),
}  # fmt: skip


class Bucket(Kind):
    type, service = "AWS::S3::Bucket", "s3"
    named, longest = "BucketName", 63
    properties = frozenset(CONFIGURATIONS)
    replacing = frozenset({"BucketName"})
    attributes = ("Arn", "DomainName", "DualStackDomainName", "RegionalDomainName", "WebsiteURL")

    def create(self, work: Work) -> Steps:
        name = self.name(work).lower()
        where = {"LocationConstraint": work.region}
        client = work.client(self.service)
        if any(each["Name"] == name for each in client.list_buckets()["Buckets"]):
            # In us-east-1 the operation takes it as done.
            raise Failed(f"{name} already exists")
        client.create_bucket(
            Bucket=name, **({} if work.region == "us-east-1" else {"CreateBucketConfiguration": where})
        )
        work.entry.id = name
        work.entry.attributes |= {
            "Arn": f"arn:aws:s3:::{name}",
            "DomainName": f"{name}.s3.amazonaws.com",
            "DualStackDomainName": f"{name}.s3.dualstack.{work.region}.amazonaws.com",
            "RegionalDomainName": f"{name}.s3.{work.region}.amazonaws.com",
            "WebsiteURL": f"http://{name}.s3-website-{work.region}.amazonaws.com",
        }
        self._configure(work, {})
        yield from ()

    def update(self, work: Work) -> Steps:
        self._configure(work, work.before)
        yield from ()

    def delete(self, work: Work) -> Steps:
        gone(lambda: work.client(self.service).delete_bucket(Bucket=work.entry.id))
        yield from ()

    def _configure(self, work: Work, before: Mapping[str, Any]) -> None:
        bucket = {"Bucket": work.entry.id}
        for name, (sets, member, form, removes) in CONFIGURATIONS.items():
            given = work.given.get(name)
            if given == before.get(name):
                continue
            if given is not None:
                work.call(self.service, sets, {**bucket, member: form(given)})
            elif removes is not None:
                work.call(self.service, removes, bucket)
            else:
                without = {"Status": "Suspended"} if name == "VersioningConfiguration" else {}
                work.call(self.service, sets, {**bucket, member: without})
        if tags := work.tag_list():
            work.call(self.service, "PutBucketTagging", {**bucket, "Tagging": {"TagSet": tags}})
        elif before:
            work.call(self.service, "DeleteBucketTagging", bucket)


class BucketPolicy(Kind):
    type, service = "AWS::S3::BucketPolicy", "s3"
    properties = frozenset({"Bucket", "PolicyDocument"})
    replacing = frozenset({"Bucket"})

    def create(self, work: Work) -> Steps:
        given = work.given
        members = {"Bucket": given["Bucket"], "Policy": json.dumps(given["PolicyDocument"])}
        work.call(self.service, "PutBucketPolicy", members)
        work.entry.id = str(given["Bucket"])
        yield from ()

    def update(self, work: Work) -> Steps:
        yield from self.create(work)

    def delete(self, work: Work) -> Steps:
        gone(lambda: work.client(self.service).delete_bucket_policy(Bucket=work.entry.id))
        yield from ()


KINDS: list[Kind] = [Bucket(), BucketPolicy()]
