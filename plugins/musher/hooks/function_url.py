"""The function's own address, for callers who sign with IAM: made, tried, and taken away. It is never open.

Source: Lambda developer guide, "Control access to Lambda function URLs"; API reference, CreateFunctionUrlConfig.
"""

from __future__ import annotations

import logging
import urllib.error
import urllib.request
from typing import Any

from airflow.sdk.exceptions import AirflowException
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from musher import request_parameters
from musher.errors import UserError
from musher.hooks.serving import found, removed, wait_until
from musher.names import ALIAS

FORBIDDEN = 403
# A new address answers after some seconds.
LIMIT_SECONDS = 120

log = logging.getLogger(__name__)


def offer(client: Any, function: str, *, wanted: bool) -> str:
    """The alias's address, made where it is wanted and missing, and taken away where it is not; empty without one.

    Raises UserError for one that somebody has opened to everybody.
    """
    of = {"FunctionName": function, "Qualifier": ALIAS}
    now = found(lambda: client.get_function_url_config(**of))
    if not wanted:
        if now is not None:
            removed(lambda: client.delete_function_url_config(**of))
        return ""
    if now is None:
        now = client.create_function_url_config(**request_parameters.function_url(name=function))
    if now["AuthType"] != "AWS_IAM":
        raise UserError(
            f"The address {now['FunctionUrl']} of {function} has AuthType {now['AuthType']}, and answers everybody: "
            "delete it (aws lambda delete-function-url-config), and deploy again."
        )
    return now["FunctionUrl"]


def check(url: str, credentials: Any, region: str, *, poll_seconds: float) -> None:
    """A call signed by this run's own role gets through to the function, an unsigned one does not.

    Raises TimeoutError where the first does not happen in time, AirflowException where the second is not so.
    """
    wait_until(
        lambda: {"status": status(url, credentials, region)},
        lambda answer: answer is not None and answer["status"] not in {FORBIDDEN, 404},
        what=f"an answer of {url} to a signed call",
        poll_seconds=min(2.0, poll_seconds),
        limit_seconds=LIMIT_SECONDS,
    )
    unsigned = status(url)
    if unsigned != FORBIDDEN:
        raise AirflowException(f"The address {url} answers an unsigned call with {unsigned}, not with {FORBIDDEN}.")
    log.info("%s answers signed calls, and no others", url)


def status(url: str, credentials: Any = None, region: str = "") -> int:
    """The HTTP status of a call of the address without a picture, which the function itself answers with a sentence;
    signed where there are credentials."""
    request = AWSRequest("GET", url)
    if credentials is not None:
        SigV4Auth(credentials, "lambda", region).add_auth(request)
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=dict(request.headers)), timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
