"""What the tests of S3 share: a client and a bucket of the local AWS that a module has, and what an error says."""

from __future__ import annotations

import itertools

import pytest
from botocore.exceptions import ClientError

PART = 5 << 20
numbers = itertools.count()


@pytest.fixture(name="s3")
def s3_client(local_aws):
    return local_aws.client("s3")


@pytest.fixture(name="bucket")
def own_bucket(s3):
    name = f"objects-{next(numbers)}"
    s3.create_bucket(Bucket=name)
    return name


def refused(call, **params) -> tuple[str, int]:
    """The code and the status of an error."""
    return refusal(call, **params)[::2]


def refusal(call, **params) -> tuple[str, str, int]:
    """The code, the sentence and the status of an error."""
    with pytest.raises(ClientError) as caught:
        call(**params)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["Error"]["Message"], answer["ResponseMetadata"]["HTTPStatusCode"]


def body(answer) -> bytes:
    return answer["Body"].read()
