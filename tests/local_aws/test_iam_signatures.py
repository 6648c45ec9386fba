"""Signatures of version 4, as the local AWS verifies them, beside botocore's signers, which write them."""

import datetime as dt
import io
import random
from urllib.parse import quote, urlencode, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from local_aws.iam import signatures

KEY = Credentials("AKIAEXAMPLE", "secret/+key")
SESSION = Credentials("ASIAEXAMPLE", "secret", "token/with+signs=")
SIGNERS = {
    "sagemaker": (SigV4Auth, SigV4QueryAuth), "lambda": (SigV4Auth, SigV4QueryAuth),
    "s3": (S3SigV4Auth, S3SigV4QueryAuth),
}  # fmt: skip
CHARACTERS = "aZ09-_.~/%+ =&;:,@!'()*$é日"


def environ(request, body):
    """What WSGI makes of a signed request."""
    prepared = request.prepare()
    sent = urlsplit(prepared.url)
    target = f"{sent.path}?{sent.query}" if sent.query else sent.path
    headers = {"host": sent.netloc, **{name.lower(): value for name, value in prepared.headers.items()}}
    names = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
    return {
        "REQUEST_METHOD": prepared.method, "PATH_INFO": sent.path, "REQUEST_URI": target, "QUERY_STRING": sent.query,
        "wsgi.input": io.BytesIO(body),
        **{names.get(name, f"HTTP_{name.upper().replace('-', '_')}"): _text(value) for name, value in headers.items()},
    }  # fmt: skip


def _text(value):
    return value.decode() if isinstance(value, bytes) else value


def drawn(random_, service, credentials, presigned):
    """A request with anything that may be in one, signed by botocore; its environ and its body."""

    def text(least=0, most=12):
        return "".join(random_.choices(CHARACTERS, k=random_.randint(least, most)))

    path = "/" + quote(random_.choice([text(), f"a/{text()}//b/", f"./{text()}/../c", "endpoints/e/invocations"]))
    query = urlencode([(text(1), text()) for _ in range(random_.randint(0, 4))])
    body = text().encode() * random_.randint(0, 3)
    headers = {f"x-amz-meta-{number}": f"  {random_.choice(['a  b', 'c', 'd,e'])} " for number in range(2)}
    headers["Content-Type"] = random_.choice(["application/json", "text/plain;  charset=utf-8"])
    method = random_.choice(["GET", "POST", "PUT"])
    if presigned:
        method, body = "GET", b""
    url = f"http://127.0.0.1:4566{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method, url, headers, body)
    by_header, by_query = SIGNERS[service]
    (by_query if presigned else by_header)(credentials, service, "eu-west-1").add_auth(request)
    return environ(request, body), body


def verify(given, body, credentials, now=None):
    signatures.verify(
        signatures.signed(given), credentials.secret_key, credentials.token, given, lambda: body,
        now or dt.datetime.now(dt.UTC),
    )  # fmt: skip


@pytest.mark.parametrize("presigned", [False, True])
@pytest.mark.parametrize("service", SIGNERS)
def test_what_botocore_signs_is_taken_and_nothing_that_was_changed_on_the_way(service, presigned):
    random_ = random.Random(f"{service}{presigned}")
    for number in range(40):
        credentials = SESSION if number % 2 else KEY
        given, body = drawn(random_, service, credentials, presigned)
        verify(given, body, credentials)
        changes = {
            "REQUEST_METHOD": "DELETE",
            "REQUEST_URI": "/other?" + given["QUERY_STRING"],
            "HTTP_HOST": "127.0.0.1:4567",
        }
        if not presigned:
            changes |= {"HTTP_X_AMZ_META_1": "other", "QUERY_STRING": given["QUERY_STRING"] + "&more=1"}
            changes["CONTENT_TYPE"] = "text/html"
        for name, value in changes.items():
            with pytest.raises(signatures.Wrong) as wrong:
                verify({**given, name: value}, body, credentials)
            assert wrong.value.code == signatures.MISMATCH, name
        if not presigned and service != "s3":
            with pytest.raises(signatures.Wrong):
                verify(given, body + b"more", credentials)
        other = Credentials(credentials.access_key, "another", credentials.token)
        with pytest.raises(signatures.Wrong):
            verify(given, body, other)


def test_what_is_no_signature_is_said_to_be_incomplete_or_wrong():
    given, body = drawn(random.Random(1), "lambda", KEY, presigned=False)
    written = given["HTTP_AUTHORIZATION"]
    head, _, signature = written.rpartition("=")
    for changed, code in (
        (head, signatures.INCOMPLETE),
        (f"{head}={signature[:-1]}", signatures.MISMATCH),
        (f"{head}=é{signature}", signatures.MISMATCH),
        (written.replace("aws4_request", "x"), signatures.MISMATCH),
        (written.replace("/lambda/aws4_request", ""), signatures.INCOMPLETE),
        (written.replace("SignedHeaders", "Signed"), signatures.INCOMPLETE),
    ):
        with pytest.raises(signatures.Wrong) as wrong:
            verify({**given, "HTTP_AUTHORIZATION": changed}, body, KEY)
        assert wrong.value.code == code, changed
    # In another order, and without blanks, it is the same.
    parts = written.removeprefix("AWS4-HMAC-SHA256 ").split(", ")
    verify({**given, "HTTP_AUTHORIZATION": "AWS4-HMAC-SHA256 " + ",".join(reversed(parts))}, body, KEY)
