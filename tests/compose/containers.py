"""docker-compose.yaml in a copy of the checkout, as the tests drive it: a project, ports and volumes of its own."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

LABEL = "label=com.docker.compose.project"
PROFILES = ("demo", "test", "celery")
UP_SECONDS = 420


class ComposeError(Exception):
    """What docker or compose said, when it did not do what was asked."""


@dataclass(frozen=True)
class Containers:
    """A compose project whose files are in `checkout`; `environment` is what docker and the file are told."""

    checkout: Path
    project: str
    airflow_port: int
    local_aws_port: int
    environment: dict[str, str]

    def save(self, file: Path) -> None:
        """For the tests, which run in a process of their own."""
        file.write_text(json.dumps(asdict(self) | {"checkout": str(self.checkout)}))

    @classmethod
    def load(cls, file: Path) -> Containers:
        facts = json.loads(file.read_text())
        return cls(**facts | {"checkout": Path(facts["checkout"])})

    def docker(self, *arguments: str, check: bool = True, timeout: float = 1800, **more: str) -> str:
        """The output of `docker ARGUMENTS`; `more` is added to the environment. Raises ComposeError."""
        done = self._run(arguments, timeout, more)
        if check and done.returncode:
            said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-25:])
            raise ComposeError(f"`docker {' '.join(arguments)}` ended with status {done.returncode}:\n{said}")
        return done.stdout

    def ended(self, *arguments: str, timeout: float = 3600) -> tuple[int, str]:
        """The exit status of `docker ARGUMENTS`, and its output."""
        done = self._run(arguments, timeout, {})
        return done.returncode, done.stdout

    def _run(
        self, arguments: tuple[str, ...], timeout: float, more: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        ports = {"AIRFLOW_PORT": str(self.airflow_port), "LOCAL_AWS_PORT": str(self.local_aws_port)}
        environment = {**os.environ, **self.environment, **ports, "COMPOSE_PROJECT_NAME": self.project, **more}
        return subprocess.run(
            ["docker", *arguments], cwd=self.checkout, env=environment, capture_output=True, text=True, timeout=timeout
        )

    def compose(self, *arguments: str, **more: str) -> str:
        """The output of `docker compose ARGUMENTS`. Raises ComposeError."""
        return self.docker("compose", *arguments, **more)

    def up(self, *options: str, **more: str) -> None:
        """Bring it up and wait until all is healthy. Raises ComposeError with what is not, and its last lines."""
        try:
            self.compose(*options, "up", "--detach", "--wait", "--wait-timeout", str(UP_SECONDS), **more)
        except ComposeError as error:
            logs = self.docker("compose", *options, "logs", "--tail", "15", check=False)
            raise ComposeError(f"{error}\n{self.docker('compose', 'ps', '--all', check=False)}\n{logs}") from None

    def down(self, *options: str) -> None:
        """Remove its containers and networks, those of all profiles."""
        profiles = [argument for profile in PROFILES for argument in ("--profile", profile)]
        self.compose(*profiles, "down", "--remove-orphans", "--timeout", "60", *options)

    def services(self) -> dict[str, dict[str, object]]:
        """What `docker compose ps` says of each container, by service."""
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        return {each["Service"]: each for each in map(json.loads, filter(None, lines))}

    def left(self) -> list[str]:
        """Containers, networks and volumes of the project."""
        found = []
        for kind, listing in (("container", ("ps", "--all")), ("network", ("network", "ls")),
                              ("volume", ("volume", "ls"))):  # fmt: skip
            names = self.docker(*listing, "--quiet", "--filter", f"{LABEL}={self.project}").split()
            found += [f"{kind} {name}" for name in names]
        return found
