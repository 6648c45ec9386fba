"""`airflow standalone`, bound to the loopback address and stopped as a whole.

    python -m tools.airflow_component standalone      what `tools.stack` starts
    python -m tools.airflow_component scheduler ...   one component, started by the former

Airflow's own command starts the scheduler and the triggerer with log servers that listen on every address and on fixed
ports, so that two checkouts get in each other's way. On one machine the API server reads the log files themselves:
here both log servers stay off.
"""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys

from tools import sqlite_api_server

FLAGS = {"scheduler": ["--skip-serve-logs"], "triggerer": ["--skip-serve-logs"]}
# Imported before the scheduler forks its workers, so that not every task has to: a task then starts a second earlier.
PRELOADED = (
    "airflow.sdk",
    "airflow.sdk.execution_time.task_runner",
    "airflow.providers.amazon.aws.operators.base_aws",
    "airflow.providers.amazon.aws.utils.mixins",
    "boto3",
    "pydantic",
)


def standalone() -> None:
    """Run `airflow standalone`; SIGTERM ends it and its components as Ctrl-C does."""
    from airflow.cli.commands import standalone_command

    class Component(standalone_command.SubCommand):
        def run(self) -> None:
            command = [sys.executable, "-m", "tools.airflow_component", *self.command, *FLAGS.get(self.name, [])]
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self.env)
            for line in self.process.stdout:
                self.parent.output_queue.append((self.name, line))

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    standalone_command.SubCommand = Component
    signal.signal(signal.SIGTERM, interrupt)
    standalone_command.StandaloneCommand().run()


def component() -> None:
    """Run one component as `airflow <component>` does."""
    from airflow.__main__ import main
    from airflow.configuration import conf

    if sys.argv[1] == "scheduler":
        for module in PRELOADED:
            importlib.import_module(module)
    if sys.argv[1] == "api-server" and conf.get("database", "sql_alchemy_conn").startswith("sqlite"):
        sqlite_api_server.write_audit_log_in_a_thread()
    sys.argv[0] = "airflow"
    main()


if __name__ == "__main__":
    standalone() if sys.argv[1] == "standalone" else component()
