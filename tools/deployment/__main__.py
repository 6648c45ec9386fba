"""`make deploy ENV=...`, `make doctor ENV=...` and `make destroy ENV=...`.

python -m tools.deployment deploy|destroy|doctor ENV [--dry-run 1|changeset]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from botocore.exceptions import BotoCoreError, ClientError

from tools.cloudformation import InfrastructureError
from tools.deployment import change_set
from tools.deployment.account import Account
from tools.deployment.deploy import Deployment
from tools.deployment.destroy import Removal, ask
from tools.deployment.doctor import examine
from tools.deployment.preview import Preview
from tools.deployment.settings import SettingsError, load_settings
from tools.package import NotPackable

# What DRY_RUN may be, and what it lets through besides reads.
DRY_RUNS = {"": None, "1": frozenset(), "changeset": change_set.WRITES}


def _run(given: argparse.Namespace, say: Callable[[str], None]) -> str:
    """Do what the command line asks for; the last line to be said."""
    how = given.dry_run
    if how not in DRY_RUNS:
        raise SettingsError(f"DRY_RUN is {how!r}; it has to be 1 (look only), or changeset, or be left out.")
    if how == "changeset" and given.command == "destroy":
        raise SettingsError("CloudFormation has no change sets for what is deleted: DRY_RUN=1 says what goes.")
    if how and given.command == "doctor":
        raise SettingsError("make doctor only looks: leave DRY_RUN out.")
    settings = load_settings(given.environment)
    if given.command == "doctor":
        examine(Account(settings.region, say, frozenset()), settings)
        return "Nothing is missing."
    account = Account(settings.region, say, DRY_RUNS[how])
    if given.command == "destroy":
        removal = Removal(account, settings, lambda bucket: ask(bucket, given.confirm))
        removal.preview() if how else removal.run()
    elif how:
        Preview(account, settings, change_sets=how == "changeset").run()
    else:
        return f"Airflow's UI: {Deployment(account, settings).run()}"
    if how:
        return "A dry run: nothing was changed" + (", and no change set is left." if how == "changeset" else ".")
    return "No stack of the project is left."


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.deployment", description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["deploy", "destroy", "doctor"])
    parser.add_argument("environment", help="a file of infra/environments/ without .yaml, or the path of one")
    parser.add_argument(
        "--dry-run",
        default="",
        metavar="HOW",
        help="1: look and change nothing; changeset: have CloudFormation say what it would change, as well",
    )
    parser.add_argument("--confirm", default="", metavar="BUCKET", help="destroy: delete all that is in this bucket")
    given = parser.parse_args(arguments)

    def say(text: str) -> None:
        print(f"{given.command}: {text}", flush=True)

    try:
        say(_run(given, say))
    except (SettingsError, InfrastructureError, NotPackable, BotoCoreError, ClientError) as error:
        print(f"{given.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            f"{given.command}: interrupted. What had begun goes on in the account; the same command again goes on from "
            "there.",
            file=sys.stderr,
        )
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
