"""The environment on Amazon MWAA, which its stack makes: here it is only looked at and waited for."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from tools.cloudformation import InfrastructureError, Waiting, said

# What comes to an end by itself. PENDING is not among them: it waits for somebody to make VPC endpoints.
# Source: Amazon MWAA API reference, Environment, Status.
MOVING = {"CREATING", "CREATING_SNAPSHOT", "UPDATING", "ROLLING_BACK", "MAINTENANCE", "DELETING"}
# How the fields of GetEnvironment are called as parameters of infra/mwaa.yaml.
PACKAGE = {
    "PluginsS3Path": "PluginsPath",
    "PluginsS3ObjectVersion": "PluginsVersion",
    "RequirementsS3Path": "RequirementsPath",
    "RequirementsS3ObjectVersion": "RequirementsVersion",
}
# The groups that MWAA makes. Source: Amazon MWAA user guide, "Accessing Airflow logs in Amazon CloudWatch".
LOGS = ("DAGProcessing", "Scheduler", "Task", "WebServer", "Worker")


class Environment:
    """An environment by its name. Parameters: `client` is boto3's for `mwaa`."""

    def __init__(self, client: Any, name: str, waiting: Waiting) -> None:
        self.client, self.name, self.waiting = client, name, waiting

    def described(self) -> dict[str, Any] | None:
        """What MWAA says of it; none when it is not there. Raises InfrastructureError."""
        try:
            return self.client.get_environment(Name=self.name)["Environment"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return None
            raise InfrastructureError(f"The environment {self.name} cannot be looked at: {said(error)}") from None

    def settle(self) -> dict[str, Any] | None:
        """Wait until nobody changes it any more; how it is then. Raises InfrastructureError."""
        began = time.monotonic()
        while True:
            now = self.described()
            if now is None or now["Status"] not in MOVING:
                return now
            waited = (time.monotonic() - began) / 60
            if waited > self.waiting.minutes:
                raise InfrastructureError(
                    f"The environment {self.name} is still {now['Status']} after {self.waiting.minutes:g} minutes; it "
                    "goes on without you: the same command again waits for it."
                )
            if self.waiting.say:
                self.waiting.say(f"The environment {self.name} is {now['Status']}, for {waited:.0f} min here")
            time.sleep(self.waiting.poll_seconds)

    def running(self, package: Mapping[str, str]) -> dict[str, Any]:
        """How it is, when it runs this package. Raises InfrastructureError when it does not.

        An update that failed leaves the old environment AVAILABLE, with the old plugins.
        """
        now = self.settle()
        if now is None:
            raise InfrastructureError(f"There is no environment {self.name}, although its stack is whole.")
        last = now.get("LastUpdate", {}).get("Error", {})
        why = f": {last['ErrorMessage']} ({last.get('ErrorCode', 'no code')})" if last.get("ErrorMessage") else ""
        if now["Status"] != "AVAILABLE":
            raise InfrastructureError(
                f"The environment {self.name} is {now['Status']}{why}; its DAGs are as they were."
            )
        other = [name for name, parameter in PACKAGE.items() if now.get(name) != package[parameter]]
        if other:
            raise InfrastructureError(
                f"The environment {self.name} runs another package, with {other[0]} {now.get(other[0])!r} where "
                f"{package[PACKAGE[other[0]]]!r} was asked for{why}; its DAGs are as they were."
            )
        return now


def log_groups(environment: str) -> list[str]:
    """The log groups of an environment, which outlive it."""
    return [f"airflow-{environment}-{each}" for each in LOGS]
