"""Addresses that AWS gives out with a signature in them, so that whoever has one needs no key for ten minutes."""

from __future__ import annotations

from typing import Any

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local_aws.services.base import Call

# Source: Lambda API reference, GetFunction: "a presigned URL ... The URL is valid for 10 minutes."
SECONDS = 600


def presigned(aws: Any, call: Call, path: str) -> str:
    """The address of `path`, with what the caller of `call` may do; without a signature where nobody looks at one."""
    url = f"{aws.url_for(call.headers)}{path}"
    identity = aws.iam.identities.find(call.access_key) if call.access_key else None
    if identity is None:
        return url
    request = AWSRequest("GET", url)
    credentials = Credentials(call.access_key, identity.secret, identity.token)
    SigV4QueryAuth(credentials, call.service, call.region, expires=SECONDS).add_auth(request)
    return request.url
