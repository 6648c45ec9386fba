"""What of the project others might reach: its bucket, its functions, its topic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from musher.audit.looking import CRITICAL, HIGH, LOW, MEDIUM, Looking, unless
from musher.audit.openness import openings, refuses_without_tls
from musher.words import listed

BUCKET, ENCRYPTION, FUNCTION, TOPIC = "bucket", "encryption", "function", "topic"

# Grantees of an ACL that are not one account. Source: S3 user guide, "Access control list overview".
_GROUPS = {
    "http://acs.amazonaws.com/groups/global/AllUsers": "anybody",
    "http://acs.amazonaws.com/groups/global/AuthenticatedUsers": "anybody with an account at AWS",
}
_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


def bucket(at: Looking, name: str) -> None:
    """Whether a bucket is public, may become so, is read without TLS, or stores what is not encrypted."""
    s3, where = at.client("s3"), f"arn:aws:s3:::{name}"
    block: Mapping[str, Any] | None = None
    with at.at(f"the public access block of the bucket {name}"):
        answer = unless(lambda: s3.get_public_access_block(Bucket=name), "NoSuchPublicAccessBlockConfiguration")
        block = answer["PublicAccessBlockConfiguration"] if answer else {}
        off = [each for each in _BLOCKS if not block.get(each)]
        if off:
            at.found(
                HIGH,
                BUCKET,
                where,
                f"Nothing keeps the bucket from becoming public: {listed(off)} {'is' if len(off) == 1 else 'are'} off.",
                "Turn all four of Block Public Access on; deploying the stack of infra/ does.",
            )
    with at.at(f"the policy of the bucket {name}"):
        answer = unless(lambda: s3.get_bucket_policy(Bucket=name), "NoSuchBucketPolicy")
        held = bool(block and block.get("RestrictPublicBuckets"))
        for each in openings(answer["Policy"], at.account) if answer else []:
            said = f"{' and '.join(each.actions[:3])} to {each.who}"
            at.found(
                (LOW if held else CRITICAL) if each.anybody else MEDIUM,
                BUCKET,
                where,
                f"The bucket's policy allows {said}" + (", which Block Public Access takes back." if held else "."),
                "Take the statement out of the bucket's policy, or name who is meant.",
            )
        if not (answer and refuses_without_tls(answer["Policy"])):
            at.found(
                MEDIUM,
                BUCKET,
                where,
                "The bucket may be read without TLS.",
                "Deny every request with aws:SecureTransport false in the bucket's policy; the stack of infra/ does.",
            )
    with at.at(f"the access control list of the bucket {name}"):
        ignored = bool(block and block.get("IgnorePublicAcls"))
        for grant in s3.get_bucket_acl(Bucket=name)["Grants"]:
            who = _GROUPS.get(grant["Grantee"].get("URI", ""))
            if who and not ignored:
                at.found(
                    CRITICAL,
                    BUCKET,
                    where,
                    f"The bucket's access control list gives {who} {grant['Permission']}.",
                    "Turn access control lists off (BucketOwnerEnforced), and Block Public Access on.",
                )
    with at.at(f"the encryption of the bucket {name}"):
        missing = "ServerSideEncryptionConfigurationNotFoundError"
        if not unless(lambda: s3.get_bucket_encryption(Bucket=name), missing):
            at.found(
                HIGH,
                ENCRYPTION,
                where,
                "What is stored in the bucket is not encrypted by default.",
                "Turn default encryption on, with SSE-S3 or with a key of KMS.",
            )


def functions(at: Looking) -> None:
    """Who else than the account may call the project's functions: by their policies, and by their URLs."""
    client = at.client("lambda")
    with at.at("the list of functions"):
        for page in client.get_paginator("list_functions").paginate():
            for each in page["Functions"]:
                name, arn = each["FunctionName"], each["FunctionArn"]
                with at.at(f"the function {name}"):
                    if client.list_tags(Resource=arn)["Tags"].get("project") == at.project:
                        _policies(at, client, name, arn)
                        _urls(at, client, name)


def _policies(at: Looking, client: Any, name: str, arn: str) -> None:
    """A function has a policy of its own, and so has each of its aliases and versions."""
    qualifiers = [""]
    with at.at(f"the aliases and versions of the function {name}"):
        for page in client.get_paginator("list_aliases").paginate(FunctionName=name):
            qualifiers += [each["Name"] for each in page["Aliases"]]
        for page in client.get_paginator("list_versions_by_function").paginate(FunctionName=name):
            qualifiers += [each["Version"] for each in page["Versions"] if each["Version"] != "$LATEST"]
    for qualifier in qualifiers:
        called = f"{name}:{qualifier}" if qualifier else name
        with at.at(f"the policy of the function {called}"):
            one = {"FunctionName": name, **({"Qualifier": qualifier} if qualifier else {})}
            answer = unless(lambda one=one: client.get_policy(**one), "ResourceNotFoundException")
            for each in openings(answer["Policy"], at.account, services=True) if answer else []:
                at.found(
                    CRITICAL if each.anybody else MEDIUM,
                    FUNCTION,
                    f"{arn}:{qualifier}" if qualifier else arn,
                    f"The function's policy allows {' and '.join(each.actions)} to {each.who}.",
                    "Remove the permission, or name the account with SourceAccount and the caller with SourceArn.",
                )


def _urls(at: Looking, client: Any, name: str) -> None:
    with at.at(f"the URLs of the function {name}"):
        for page in client.get_paginator("list_function_url_configs").paginate(FunctionName=name):
            for url in page["FunctionUrlConfigs"]:
                if url["AuthType"] != "AWS_IAM":
                    at.found(
                        CRITICAL,
                        FUNCTION,
                        url["FunctionArn"],
                        f"{url['FunctionUrl']} answers anybody: its AuthType is {url['AuthType']}.",
                        "Set the URL's AuthType to AWS_IAM, or delete the URL.",
                    )


def topic(at: Looking, arn: str) -> None:
    """Whom the topic's policy lets publish or subscribe."""
    if not arn:
        return
    with at.at(f"the policy of the topic {arn}"):
        policy = at.client("sns").get_topic_attributes(TopicArn=arn)["Attributes"].get("Policy")
        for each in openings(policy, at.account) if policy else []:
            at.found(
                CRITICAL if each.anybody else MEDIUM,
                TOPIC,
                arn,
                f"The topic's policy allows {' and '.join(each.actions[:3])} to {each.who}.",
                "Take the statement out of the topic's policy; deploying the stack of infra/ puts its own back.",
            )
