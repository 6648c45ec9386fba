"""`python -m local_aws`: an AWS on this machine."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from local_aws.clock import parse_duration
from local_aws.iam.mode import Mode
from local_aws.state import SAVE_SECONDS

if TYPE_CHECKING:
    from local_aws.iam.sessions import Lasting

COMMANDS = {
    "serve": "run it, until Ctrl-C or SIGTERM; what it does when no command is named",
    "support": "print which operations it supports, or what becomes of each member of one",
    "interrupt": "take the Spot capacity of an instance or of a managed Spot training job back",
    "published": "print what was published to SNS topics",
    "capacity": "say how many more Spot instances of a type can be had",
    "iam": "print what IAM has denied and why, or the smallest policy for what each role has called",
    "quota": "list the account's quotas, or change one; or have those of a new account",
}


def main() -> int:
    words = sys.argv[1:]
    if not words or (words[0].startswith("-") and words[0] not in {"-h", "--help"}):
        words = ["serve", *words]
    arguments = _parser().parse_args(words)
    run = {
        "serve": _serve,
        "support": _support,
        "interrupt": _interrupt,
        "published": _published,
        "capacity": _capacity,
        "iam": _iam,
        "quota": _quota,
    }
    return run[arguments.command](arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local_aws", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = {name: commands.add_parser(name, help=text, description=text) for name, text in COMMANDS.items()}
    serve = command["serve"]
    serve.add_argument("--host", default="127.0.0.1", metavar="ADDRESS",
                       help="where to listen; 0.0.0.0 in a container for others (default: 127.0.0.1)")  # fmt: skip
    serve.add_argument("--allowed-host", type=_host_name, action="append", default=[], metavar="NAME",
                       help="a host name by which it answers, besides the loopback ones; repeatable")  # fmt: skip
    serve.add_argument("--port", type=int, default=4566, help="where to listen (default: 4566)")
    serve.add_argument(
        "--state", type=Path, default=Path(".local_aws"), help="folder for all it keeps (default: .local_aws)"
    )
    serve.add_argument("--minute", type=_duration, default=60.0, metavar="SECONDS",
                       help="how long an AWS minute lasts, e.g. 5s (default: 60s)")  # fmt: skip
    serve.add_argument("--jobs-python", type=Path, default=Path(".venv-ml/bin/python"),
                       help="Python of the environment that stands in for AWS's PyTorch containers")  # fmt: skip
    serve.add_argument("--ssh-port", type=int, default=0, metavar="PORT",
                       help="where EC2 instances answer SSH (default: 22 if usable, else 2222)")  # fmt: skip
    serve.add_argument("--save-every", type=_save_every, default=SAVE_SECONDS, metavar="SECONDS",
                       help=f"how long after a change it is saved (default: {SAVE_SECONDS:g}s)")  # fmt: skip
    serve.add_argument("--iam", choices=[each.value for each in Mode], default=Mode.OFF.value,
                       help="what becomes of a call that no policy allows: off (nobody looks), audit (it is logged), "
                            "enforce (it is denied); default: off")  # fmt: skip
    serve.add_argument("--administrator", type=_key, action="append", default=[], metavar="KEY:SECRET",
                       help="an access key that may do everything; repeatable (default: test:test)")  # fmt: skip
    serve.add_argument("--offer", type=_offer, action="append", default=[], metavar="ROLE:SERVICE:TOKEN",
                       help="give the credentials of a role that a service of AWS's may take to whoever asks at "
                            "/_local_aws/credentials/TOKEN; with @FILE for TOKEN at /_local_aws/credentials/ROLE, to "
                            "whoever sends what is in the file as Authorization; repeatable")  # fmt: skip
    serve.add_argument("--no-loopback-tls", action="store_true",
                       help="let policies see that calls over loopback come without TLS")  # fmt: skip
    serve.add_argument("--verbose", action="store_true", help="log every call")
    command["support"].add_argument("operation", nargs="?", help="such as CreateFunction or lambda.CreateFunction")
    command["interrupt"].add_argument("name", help="the instance's id or the training job's name")
    command["capacity"].add_argument("instance_type", help="such as g5.xlarge")
    command["capacity"].add_argument("--spot", type=_count, required=True, metavar="N", help="a number, or unlimited")
    does = command["quota"].add_subparsers(dest="does", required=True)
    listing = does.add_parser("list", help="print them with what the account has")
    listing.add_argument("text", nargs="?", default="", help="only those with this in their names")
    setting = does.add_parser("set", help="change one")
    setting.add_argument("name", help="its name or code, such as 'ml.m5.large for endpoint usage'")
    setting.add_argument("value", type=float, help="a number from 0")
    does.add_parser("new-account", help="have what AWS gives a new account: next to nothing")
    for each in does.choices.values():
        each.add_argument("--port", type=int, default=4566, help="where it listens (default: 4566)")
    iam = command["iam"].add_subparsers(dest="what", required=True)
    iam.add_parser("denials", help="what was denied, or would be").set_defaults(request_id=None)
    iam.add_parser("stream", help="per role, what it has called as a policy").set_defaults(request_id=None)
    iam.add_parser("calls", help="per role, each call once, with its condition keys").set_defaults(request_id=None)
    explained = iam.add_parser("explain", help="what decided on a denied call, and what came closest")
    explained.add_argument("request_id", metavar="REQUEST-ID", help="of the answer, or of the log")
    command.update({f"iam {name}": each for name, each in iam.choices.items()})
    for name in ("interrupt", "published", "capacity", *(f"iam {each}" for each in iam.choices)):
        command[name].add_argument("--port", type=int, default=4566, help="where it listens (default: 4566)")
    return parser


def _serve(arguments: argparse.Namespace) -> int:
    logging.basicConfig(
        level=logging.DEBUG if arguments.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    for noisy in ("botocore", "boto3", "urllib3", "werkzeug", "waitress.queue"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    gc.disable()  # until serve() is ready: what is imported stays
    from local_aws.aws import ADMINISTRATOR, Settings
    from local_aws.server import StartError, serve

    try:
        serve(
            Settings(
                host=arguments.host,
                allowed_hosts=tuple(arguments.allowed_host),
                port=arguments.port,
                state=arguments.state.absolute(),
                minute_seconds=arguments.minute,
                jobs_python=arguments.jobs_python.absolute(),
                ssh_port=arguments.ssh_port,
                save_seconds=arguments.save_every,
                iam=Mode(arguments.iam),
                administrators=dict(arguments.administrator or [ADMINISTRATOR]),
                offers=tuple(arguments.offer),
                loopback_is_tls=not arguments.no_loopback_tls,
            )
        )
    except StartError as error:
        print(f"local_aws: {error}", file=sys.stderr)
        return 1
    # All is stopped. To collect moto's thousands of records one by one would take the interpreter seconds.
    logging.shutdown()
    os._exit(0)


def _support(arguments: argparse.Namespace) -> int:
    from local_aws.conformance import Unknown, describe
    from local_aws.services import SERVICES
    from local_aws.support import table

    try:
        print(describe(arguments.operation) if arguments.operation else table(SERVICES))
    except Unknown as error:
        print(f"local_aws: {error}", file=sys.stderr)
        return 1
    return 0


def _interrupt(arguments: argparse.Namespace) -> int:
    return _tell(arguments.port, "interrupt", {"name": arguments.name})


def _published(arguments: argparse.Namespace) -> int:
    return _tell(arguments.port, "published", {})


def _capacity(arguments: argparse.Namespace) -> int:
    return _tell(arguments.port, "capacity", {"instance_type": arguments.instance_type, "spot": arguments.spot})


def _quota(arguments: argparse.Namespace) -> int:
    orders: dict[str, dict[str, object]] = {
        "list": {"list": getattr(arguments, "text", "")},
        "set": {"name": getattr(arguments, "name", ""), "value": getattr(arguments, "value", 0)},
        "new-account": {"new_account": True},
    }
    return _tell(arguments.port, "quota", orders[arguments.does])


def _iam(arguments: argparse.Namespace) -> int:
    return _tell(arguments.port, f"iam-{arguments.what}", {"request_id": arguments.request_id})


def _tell(port: int, path: str, order: dict[str, object]) -> int:
    from local_aws.control import Refused, tell

    try:
        print(tell(port, path, order))
    except Refused as error:
        print(f"local_aws: {error}", file=sys.stderr)
        return 1
    return 0


def _host_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+", text):
        raise argparse.ArgumentTypeError(f"a host name without a scheme and a port, such as aws.internal, not {text}")
    return text


def _key(text: str) -> tuple[str, str]:
    key, colon, secret = text.partition(":")
    if not (key and colon and secret):
        raise argparse.ArgumentTypeError(f"an access key and its secret, such as test:test, not {text}")
    return key, secret


def _offer(text: str) -> Lasting:
    from local_aws.iam.sessions import Lasting

    role, service, token = [*text.split(":", 2), "", "", ""][:3]
    file = token.removeprefix("@") if token.startswith("@") else ""
    try:
        secret = Path(file).read_text().strip() if file else token
    except OSError as error:
        raise argparse.ArgumentTypeError(f"the token of {role} in {file}: {error.strerror}") from None
    if not (role and service and len(secret) >= 16):
        raise argparse.ArgumentTypeError(
            "a role's name, a service and a token of at least 16 characters, or @ and a file with one, such as "
            f"jobs:sagemaker.amazonaws.com:0123456789abcdef, not {text}"
        )
    return Lasting(role, service, role, secret) if file else Lasting(role, service, token)


def _count(text: str) -> int | None:
    if text == "unlimited":
        return None
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"a number from 0 or unlimited, not {text}")
    return int(text)


def _duration(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not 0.5 <= seconds <= 60:
        raise argparse.ArgumentTypeError(f"an AWS minute must last between 0.5s and 60s, not {text}")
    return seconds


def _save_every(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"changes must be saved after 0.1s to 3600s, not {text}")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
