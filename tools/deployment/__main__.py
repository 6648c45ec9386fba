"""`make deploy ENV=...` and `make destroy ENV=...`: python -m tools.deployment deploy|destroy ENV [--dry-run]."""

from __future__ import annotations

import argparse
import sys

from botocore.exceptions import BotoCoreError, ClientError

from tools.cloudformation import InfrastructureError
from tools.deployment.account import Account
from tools.deployment.deploy import Deployment
from tools.deployment.destroy import Removal, ask
from tools.deployment.rehearsal import Rehearsal
from tools.deployment.settings import SettingsError, load_settings
from tools.package import NotPackable


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.deployment", description=__doc__)
    parser.add_argument("command", choices=["deploy", "destroy"])
    parser.add_argument("environment", help="a file of infra/environments/ without .yaml, or the path of one")
    parser.add_argument("--dry-run", action="store_true", help="print every call, and make only those that read")
    parser.add_argument("--confirm", default="", metavar="BUCKET", help="destroy: delete all that is in this bucket")
    given = parser.parse_args(arguments)

    def say(text: str) -> None:
        print(f"{given.command}: {text}", flush=True)

    try:
        settings = load_settings(given.environment)
        account = Account(settings.region, say, Rehearsal() if given.dry_run else None)
        if given.command == "deploy":
            address = Deployment(account, settings).run()
            say(f"Airflow's UI: {address}" if not given.dry_run else "A dry run: nothing was changed.")
        else:
            Removal(account, settings, lambda bucket: ask(bucket, given.confirm)).run()
            say("No stack of the project is left." if not given.dry_run else "A dry run: nothing was changed.")
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
