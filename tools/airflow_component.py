"""`airflow standalone`, bound to the loopback address and stopped as a whole.

    python -m tools.airflow_component standalone      what `tools.stack` starts
    python -m tools.airflow_component scheduler ...   one component, as in a container of its own

Airflow's own command starts the scheduler and the triggerer with log servers that listen on every address and on fixed
ports, so that two checkouts get in each other's way. On one machine the API server reads the log files themselves:
here both log servers stay off.

Airflow's own command also starts each component as a program that imports all of Airflow anew. Here they are forked
from one process that has imported it, which saves half of the CPU seconds of a start.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import setproctitle

from tools import one_version_api, preloaded_plugins, sqlite_api_server, sqlite_scheduler

GARBAGE_AFTER_OBJECTS = 10_000
LOOK_SECONDS = 0.5
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
# Whose models tasks read first.
SERVICES = ("s3", "sagemaker", "lambda", "cloudwatch", "application-autoscaling")
# What the components import besides, each of them more than one.
SHARED = (
    "airflow.__main__",
    "airflow.cli.commands.standalone_command",
    "airflow.dag_processing.manager",
    "airflow.executors.local_executor",
    "airflow.jobs.triggerer_job_runner",
    "uvicorn",
)


def standalone() -> None:
    """Run `airflow standalone`; SIGTERM ends it and its components as Ctrl-C does."""
    setproctitle.getproctitle()  # finds the place for titles, which it no longer does when the environment has changed
    gc.disable()
    for module in (*SHARED, *PRELOADED):
        importlib.import_module(module)
    preloaded_plugins.preload()
    one_version_api.serve_the_newest_version_alone()
    read_models()
    from airflow.cli.commands import standalone_command

    level = logging.getLogger().level

    class Component(standalone_command.SubCommand):
        def __init__(self, parent, name: str, command: list[str], env: dict[str, str]) -> None:
            """Fork the component: here, before a thread of another one runs."""
            super().__init__(parent, name, command, env)
            read, write = os.pipe()
            sys.stdout.flush()
            self.pid = os.fork()
            if self.pid == 0:
                # Whose reader is gone shall notice it, and not wait for this process to read.
                for descriptor in (read, *(each.output.fileno() for each in parent.subcommands.values())):
                    os.close(descriptor)
                self._become(write)
            os.close(write)
            self.output = os.fdopen(read, "rb")

        def _become(self, output: int) -> None:
            for descriptor in (1, 2):
                os.dup2(output, descriptor)
            os.close(output)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            setproctitle.setproctitle(f"airflow {self.name}")
            # The command has silenced its own messages.
            logging.getLogger().setLevel(level)
            os.environ.update(self.env)
            sys.argv = ["airflow", *self.command, *FLAGS.get(self.name, [])]
            leave_after(component)

        def run(self) -> None:
            for line in self.output:
                self.parent.output_queue.append((self.name, line))
            os.waitpid(self.pid, 0)

        def stop(self) -> None:
            if self.is_alive():
                os.kill(self.pid, signal.SIGTERM)

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    standalone_command.SubCommand = Component
    signal.signal(signal.SIGTERM, interrupt)
    # What is there already stays, and is shared by all components as long as nobody writes to it. They make a lot more
    # of what stays as they start: to look through that for garbage at each seven hundred objects costs them a tenth.
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER_OBJECTS)
    gc.enable()
    standalone_command.StandaloneCommand().run()


def leave_after(work: Callable[[], None]) -> NoReturn:
    """Do some work and end this process as Python does, but for what it would take apart first: all of Airflow, of
    which each page had to be copied for that in a forked process, takes seconds of a core."""
    status = 0
    try:
        work()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if ended.code is not None and not isinstance(ended.code, int):
            print(ended.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(status)


def notice_the_end_soon(supervisor: type) -> None:
    """Let the triggerer look each half second whether the process of its triggers has ended, once it has told it to.

    That process's last line wakes Airflow (3.3.1) when it is about to end; as long as it has not, Airflow waits for
    another line, ten seconds, of one that is gone by then: every other `make down` took so long.
    """
    kill, service = supervisor.kill, supervisor._service_subprocess

    def kill_and_look(self: Any, *how: Any, **more: Any) -> None:
        supervisor._service_subprocess = lambda self, max_wait_time, **more: service(
            self, min(max_wait_time, LOOK_SECONDS), **more
        )
        kill(self, *how, **more)

    supervisor.kill = kill_and_look


def read_models() -> None:
    """Read AWS's models of its services here, for all who are forked: each client of each task reads them else."""
    import boto3
    import botocore.session

    botocore.session.create_loader = functools.cache(botocore.session.create_loader)
    session = boto3.session.Session("none", "none", region_name="us-east-1")
    for service in SERVICES:
        session.client(service)


def component() -> None:
    """Run one component as `airflow <component>` does."""
    from airflow.__main__ import main
    from airflow.configuration import conf
    from sqlalchemy import make_url

    if sys.argv[1] == "scheduler":
        for module in PRELOADED:
            importlib.import_module(module)
    if sys.argv[1] in ("scheduler", "dag-processor"):
        preloaded_plugins.preload()
    database = make_url(conf.get("database", "sql_alchemy_conn"))
    if sys.argv[1] == "triggerer":
        from airflow.jobs.triggerer_job_runner import TriggerRunnerSupervisor

        notice_the_end_soon(TriggerRunnerSupervisor)
    if database.get_backend_name() == "sqlite" and sys.argv[1] == "api-server":
        sqlite_api_server.write_audit_log_in_a_thread()
    if database.get_backend_name() == "sqlite" and sys.argv[1] == "scheduler":
        sqlite_scheduler.wake_when_something_is_written(database.database)
    sys.argv[0] = "airflow"
    main()


if __name__ == "__main__":
    leave_after(standalone if sys.argv[1] == "standalone" else component)
