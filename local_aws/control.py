"""What the local AWS can be told and AWS decides alone: to take Spot capacity back, to have little of it, what the
account's quotas are; and what it shows that AWS mails: what was published to topics.

Server side: the paths below /_local_aws/ of the gateway. Client side: `tell`, behind the commands of `__main__.py`.
"""

from __future__ import annotations

import difflib
import json
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from local_aws.errors import AwsError
from local_aws.iam import sessions

if TYPE_CHECKING:
    from local_aws.aws import LocalAws

PREFIX = "/_local_aws/"


class Refused(Exception):
    """What was told can't be done, as one sentence."""


def answer(aws: LocalAws, method: str, path: str, body: bytes, authorization: str = "") -> tuple[int, dict[str, Any]]:
    """The status and the JSON answer of a request below PREFIX; `authorization` is its header of that name."""
    if path == "/_local_aws/health":
        return 200, {"status": "ready", "ssh_port": aws.settings.ssh_port, "state": aws.saver.describe()}
    if method == "GET" and path.startswith(sessions.PREFIX):
        return aws.iam.sessions.answer(path, authorization)
    orders = {"interrupt": interrupt, "capacity": capacity, "quota": quota, "published": published,
              "iam-stream": iam_stream, "iam-calls": iam_calls, "iam-denials": iam_denials,
              "iam-explain": iam_explain}  # fmt: skip
    named = path.removeprefix(PREFIX)
    if named not in orders or method != "POST":
        return 404, {"message": f"There is no {method} {path}."}
    try:
        order = json.loads(body)
        if not isinstance(order, dict):
            raise ValueError
    except ValueError:
        return 400, {"message": "The body must be a JSON object."}
    try:
        return orders[named](aws, order)
    except AwsError as error:
        return 400, {"message": error.message}
    finally:
        aws.saver.changed()


def interrupt(aws: LocalAws, order: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """POST {"name": ...}: take the Spot capacity of one thing back. Raises AwsError for what can't be interrupted."""
    name = str(order.get("name") or "")
    for service in aws.services:
        sentence = service.interrupt(name)
        if sentence is not None:
            return 200, {"message": sentence}
    return 404, {"message": f"Nothing that runs here is called {name!r}: name a Spot instance or a training job."}


def capacity(aws: LocalAws, order: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """POST {"instance_type": ..., "spot": N or null}: N more Spot instances of a type can be had, or any number."""
    from local_aws.ec2.requests import check_instance_type
    from local_aws.services.ec2 import Ec2

    instance_type, spot = str(order.get("instance_type") or ""), order.get("spot")
    if spot is not None and (not isinstance(spot, int) or spot < 0):
        return 400, {"message": f"spot must be a number from 0 or null, not {spot!r}."}
    check_instance_type(instance_type)
    aws.service(Ec2).capacity.limit(instance_type, spot)
    many = "any number of" if spot is None else "no" if spot == 0 else str(spot)
    return 200, {"message": f"From now on there is capacity for {many} more Spot instances of {instance_type}."}


def quota(aws: LocalAws, order: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """POST {"name": ..., "value": N}: a quota of the account, by its name or code. What is in use already stays.

    {"list": TEXT}: those whose names have the text in them, one a line; {"new_account": true}: all of them as a new
    account has them. Raises AwsError for a value that there is not.
    """
    from local_aws.quotas import known
    from local_aws.services.service_quotas import ServiceQuotas

    service = aws.service(ServiceQuotas)
    if "list" in order:
        text = str(order["list"] or "").lower()
        lines = [
            f"{service.value(each):>6g}  {each.service:<10} {each.name}"
            for each in known().values()
            if text in f"{each.service} {each.name}".lower()
        ]
        return 200, {"message": "\n".join(lines) or f"No quota has {text!r} in its name."}
    if order.get("new_account"):
        service.as_new_account()
        return 200, {"message": "From now on the account has the quotas of a new one."}
    name, value = str(order.get("name") or ""), order.get("value")
    named = known().get(name) or next((each for each in known().values() if each.code == name), None)
    if named is None:
        near = difflib.get_close_matches(name, known(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "; `python -m local_aws quota list` names them."
        return 400, {"message": f"There is no quota {name!r}{hint}"}
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 400, {"message": f"The value of a quota is a number from 0, not {value!r}."}
    service.set(named, value)
    return 200, {"message": f"From now on the account's quota {named.name!r} is {value:g}."}


def published(aws: LocalAws, order: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """POST {}: what was published to SNS topics, oldest first, as text for a person."""
    from moto.backends import get_backend

    shown = []
    for topic in get_backend("sns")[aws.account][aws.region].topics.values():
        for _, message, subject, *_ in topic.sent_notifications:
            shown.append(f"[{topic.name}] {subject or '(no subject)'}\n{_default(message)}")
    return 200, {"message": "\n\n".join(shown) or "Nothing was published to an SNS topic."}


def iam_stream(aws: LocalAws, order: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """POST {}: per role and user, what it has called as the smallest policy that allows it, as JSON."""
    return 200, {"message": json.dumps(aws.iam.journal.stream(), indent=1)}


def iam_calls(aws: LocalAws, order: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """POST {}: per role and user, each call once, with resource, condition keys and whether it was allowed, as JSON."""
    return 200, {"message": json.dumps(aws.iam.journal.calls(), indent=1)}


def iam_denials(aws: LocalAws, order: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """POST {}: every call that was denied, or would be, once, as lines."""
    found = [f"{each['operation']}: {each['sentence']}" for each in aws.iam.journal.denials()]
    return 200, {"message": "\n".join(found) or f"Nothing was denied (IAM: {aws.iam.mode})."}


def iam_explain(aws: LocalAws, order: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """POST {"request_id": ...}: what decided on a denied call."""
    request_id = str(order.get("request_id") or "")
    found = aws.iam.journal.explain(request_id)
    if found is None:
        return 404, {"message": f"No call that was denied has the request id {request_id!r} (IAM: {aws.iam.mode})."}
    return 200, {"message": found}


def _default(message: str) -> str:
    """What a subscriber by mail gets: the member `default` of a message with MessageStructure json."""
    try:
        content = json.loads(message)
    except ValueError:
        return message
    if isinstance(content, dict) and isinstance(content.get("default"), str):
        return content["default"]
    return json.dumps(content, indent=1)


def tell(port: int, path: str, order: dict[str, Any]) -> str:
    """Tell the local AWS on a port something; its answer as a sentence. Raises Refused."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{PREFIX}{path}", data=json.dumps(order).encode())
    # Never through a proxy that the shell's environment names.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as response:
            return json.load(response)["message"]
    except urllib.error.HTTPError as error:
        raise Refused(json.load(error)["message"]) from error
    except (OSError, ValueError, KeyError) as error:
        reason = getattr(error, "reason", error)
        reason = getattr(reason, "strerror", None) or reason
        raise Refused(f"no local AWS answers on port {port} ({reason}); name its port with --port") from error
