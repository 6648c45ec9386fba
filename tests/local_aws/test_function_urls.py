"""A function's own address: made, asked with a signature that IAM allows and with none, and gone with the function."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from local_aws.functions import urls
from local_aws.functions.urls import Address, Caller
from tests.local_aws.daemon import make_role, wait_for
from tests.local_aws.test_lambda import zipped

SOURCE = """
import json
def handler(event, context):
    wanted = json.loads(event.get("body") or "{}")
    if wanted.get("raise"):
        raise ValueError("no")
    return {"statusCode": 201, "headers": {"x-version": context.function_version},
            "body": json.dumps({"event": event, "arn": context.invoked_function_arn})}
"""
ADMINISTRATOR = ("AKIATESTTESTTESTTEST", "test")
NAME, ALIAS = "addressed", "live"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory, start_daemon):
    """With IAM enforced, and the tests' own key an administrator's."""
    options = ("--iam", "enforce", "--administrator", ":".join(ADMINISTRATOR))
    daemon = start_daemon(tmp_path_factory.mktemp("urls"), options=options)
    yield daemon
    daemon.stop()


@pytest.fixture(scope="module")
def function(daemon):
    client = daemon.client("lambda")
    client.create_function(
        FunctionName=NAME, Runtime="python3.12", Handler="app.handler", Role=make_role(daemon),
        Code={"ZipFile": zipped(SOURCE)},
    )  # fmt: skip
    wait_for(lambda: client.get_function_configuration(FunctionName=NAME)["State"] == "Active")
    version = client.publish_version(FunctionName=NAME)["Version"]
    client.create_alias(FunctionName=NAME, Name=ALIAS, FunctionVersion=version)
    return NAME


@pytest.fixture(scope="module")
def address(daemon, function):
    answer = daemon.client("lambda").create_function_url_config(
        FunctionName=function, Qualifier=ALIAS, AuthType="AWS_IAM"
    )
    return answer["FunctionUrl"]


def asked(url, body=b"", keys=None, *, service="lambda", content_type="application/json", headers=()):
    """The status and the answer of a POST, signed with `keys` where there are any."""
    request = AWSRequest("POST", url, data=body, headers={"Content-Type": content_type, **dict(headers)})
    if keys:
        SigV4Auth(Credentials(*keys), service, "us-east-1").add_auth(request)
    sent = urllib.request.Request(url, data=body, headers=dict(request.headers), method="POST")
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sent, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.fixture(scope="module")
def user(daemon):
    """`user(*actions)`: keys of somebody new who may do these things to the alias."""
    iam, arn = daemon.client("iam"), f"arn:aws:lambda:us-east-1:123456789012:function:{NAME}:{ALIAS}"

    def user(*actions):
        name = f"user-{len(iam.list_users()['Users'])}"
        iam.create_user(UserName=name)
        if actions:
            statement = {"Effect": "Allow", "Action": list(actions), "Resource": arn}
            document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=document)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return made["AccessKeyId"], made["SecretAccessKey"]

    return user


BOTH = ("lambda:InvokeFunctionUrl", "lambda:InvokeFunction")


def test_a_signed_call_is_an_event_of_version_2_and_its_answer_the_functions(address, user):
    keys = user(*BOTH)
    status, answer = asked(f"{address}a/b?x=1&y=2&x=3", b'{"url": "u"}', keys, headers={"Cookie": "c=1; d=2"})
    event, context = answer["event"], answer["event"]["requestContext"]
    assert status == 201
    assert answer["arn"] == f"arn:aws:lambda:us-east-1:123456789012:function:{NAME}:{ALIAS}"
    assert (event["version"], event["rawPath"], event["rawQueryString"]) == ("2.0", "/a/b", "x=1&y=2&x=3")
    assert event["queryStringParameters"] == {"x": "1,3", "y": "2"}
    assert (event["cookies"], event["body"], event["isBase64Encoded"]) == (["c=1", "d=2"], '{"url": "u"}', False)
    assert event["headers"]["content-type"] == "application/json"
    assert (context["http"]["method"], context["http"]["path"]) == ("POST", "/a/b")
    assert context["authorizer"]["iam"]["accessKey"] == keys[0]
    assert ":user/user-" in context["authorizer"]["iam"]["userArn"]
    # Other bodies than text are in base64.
    _, answer = asked(address, b'{"a": 1}', ADMINISTRATOR, content_type="text/plain")
    assert answer["event"]["body"] == '{"a": 1}'


def test_an_unsigned_call_and_one_that_is_signed_wrongly_do_not_pass(address, user):
    assert asked(address) == (403, {"Message": urls.FORBIDDEN})
    key, _ = user(*BOTH)
    status, told = asked(address, keys=(key, "another secret"))
    assert (status, "signature we calculated does not match" in told["Message"]) == (403, True)
    status, told = asked(address, keys=("AKIANOBODYKNOWSTHIS0", "secret"))
    assert (status, told["Message"]) == (403, "The security token included in the request is invalid.")
    status, told = asked(address, keys=ADMINISTRATOR, service="execute-api")
    assert (status, told["Message"]) == (403, "Credential should be scoped to correct service: 'lambda'.")


@pytest.mark.parametrize(("given", "lacks"), [((), BOTH[0]), (BOTH[:1], BOTH[1]), (BOTH[1:], BOTH[0])])
def test_a_caller_without_one_of_both_permissions_does_not_pass(address, user, given, lacks):
    status, told = asked(address, keys=user(*given))
    assert status == 403
    assert f"is not authorized to perform: {lacks} on resource: " in told["Message"]


def test_a_function_that_fails_is_a_502(address):
    assert asked(address, b'{"raise": true}', ADMINISTRATOR) == (502, {"Message": "Internal Server Error"})


def test_an_address_is_made_once_described_and_listed_and_never_open(daemon, function, address):
    client = daemon.client("lambda")
    of = {"FunctionName": function, "Qualifier": ALIAS}
    found = client.get_function_url_config(**of)
    assert (found["FunctionUrl"], found["AuthType"], found["InvokeMode"]) == (address, "AWS_IAM", "BUFFERED")
    listed = client.list_function_url_configs(FunctionName=function)["FunctionUrlConfigs"]
    assert [each["FunctionUrl"] for each in listed] == [address]
    with pytest.raises(client.exceptions.ResourceConflictException, match="FunctionUrlConfig exists"):
        client.create_function_url_config(**of, AuthType="AWS_IAM")
    with pytest.raises(ClientError, match="does not carry out AuthType; it takes AWS_IAM alone"):
        client.create_function_url_config(FunctionName=function, AuthType="NONE")
    with pytest.raises(ClientError, match="Value '1' at 'qualifier' failed to satisfy constraint"):  # a version's
        client.create_function_url_config(FunctionName=function, Qualifier="1", AuthType="AWS_IAM")


def test_it_goes_by_itself_and_with_the_function(daemon, function):
    client = daemon.client("lambda")
    other = client.create_function_url_config(FunctionName=function, AuthType="AWS_IAM")["FunctionUrl"]
    assert asked(other, keys=ADMINISTRATOR)[0] == 201
    client.delete_function_url_config(FunctionName=function)
    assert asked(other, keys=ADMINISTRATOR) == (404, {"Message": "Not Found"})
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function_url_config(FunctionName=function)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"statusCode": 204}, (204, b"")),
        ({"statusCode": 200, "body": "YQ==", "isBase64Encoded": True}, (200, b"a")),
        ({"words": 1}, (200, b'{"words": 1}')),
        ("words", (200, b"words")),
        ({"statusCode": "many"}, (502, urls.INTERNAL)),
        ({"statusCode": 200, "body": {"not": "text"}}, (502, urls.INTERNAL)),
    ],
)
def test_what_a_function_returns_is_an_answer(value, expected):
    status, headers, body = urls.answer(json.dumps(value).encode())
    assert (status, body) == expected
    assert ("Content-Type", "application/json") in headers


def test_cookies_and_headers_of_a_function_are_the_answers():
    value = {"statusCode": 200, "headers": {"Content-Type": "text/plain"}, "cookies": ["a=1", "b=2"], "body": "x"}
    _, headers, _ = urls.answer(json.dumps(value).encode())
    assert headers == [("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]


def test_a_picture_comes_in_base64():
    environ = {"REQUEST_METHOD": "POST", "CONTENT_TYPE": "image/png"}
    made = json.loads(
        urls.event(
            environ, Address("i", "f", None, "", ""), "/", b"\x89PNG", account="1", caller=Caller("k"), request="r"
        )
    )
    assert (made["isBase64Encoded"], base64.b64decode(made["body"])) == (True, b"\x89PNG")
