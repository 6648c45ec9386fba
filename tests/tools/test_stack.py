"""The stack comes up on its own ports, says what is in its way, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
import requests
from airflow.sdk.api.datamodels._generated import API_VERSION

from tests.ports import free_port
from tools.airflow_rest import Airflow
from tools.processes import Component
from tools.stack import ROOT, Stack, StackError


def new_stack(folder: Path) -> Stack:
    return Stack(
        local_aws_port=free_port(),
        airflow_port=free_port(),
        minute="1s",
        home=folder / "airflow",
        state=folder / "local_aws",
        logs=folder / "logs",
    )


def listening(processes: set[psutil.Process]) -> set[str]:
    """The addresses that the processes listen on."""
    connections = [connection for process in processes for connection in process.net_connections("inet")]
    return {connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN}


@pytest.mark.slow
def test_up_and_down_leave_no_process(tmp_path):
    stack, said = new_stack(tmp_path), []
    try:
        # GIVEN a stack that was started
        stack.up(said.append)
        family = stack.local_aws.family() | stack.airflow.family()
        assert len(family) > 6
        # THEN it listens on the loopback address alone, and the account is prepared
        assert listening(family) == {"127.0.0.1"}
        airflow = Airflow(stack.airflow_url)
        assert "musher-" in airflow.rest("GET", "variables/musher")["value"]
        # AND the tasks' API has the version that they speak, and has made no other
        ping = f"{stack.airflow_url}/execution/health/ping"
        assert requests.get(ping, headers={"Airflow-API-Version": API_VERSION}, timeout=45).ok
        older = requests.get(ping, headers={"Airflow-API-Version": "2025-04-11"}, timeout=45)
        assert older.status_code == 404
        # AND who writes waits while another one does, longer than the 5 s after which SQLite gives up
        change = {"key": "musher", "value": "{}"}
        with ThreadPoolExecutor() as pool, writing(stack.home / "airflow.db"):
            changed = pool.submit(airflow.rest, "PATCH", "variables/musher", change, update_mask="value")
            time.sleep(7)
            # AND nobody else waits with it: the one who writes may be another request of the same server
            assert requests.get(f"{stack.airflow_url}/api/v2/version", timeout=45).ok
            assert not changed.done()
        assert changed.result()["value"] == "{}"
        # AND starting it again says so and starts nothing
        said.clear()
        stack.up(said.append)
        assert said[0].startswith("Already up")
        assert stack.airflow.process() in family
        # WHEN a component has lost its parent, which was killed
        stack.airflow.process().kill()
    finally:
        stack.down(said.append)
    # THEN stopping leaves nothing all the same
    assert not psutil.wait_procs(family, timeout=20)[1]
    assert not stack.local_aws.family() | stack.airflow.family()
    # AND stopping what is not there is no error
    said.clear()
    stack.down(said.append)
    assert said == ["Nothing was up."]


@contextlib.contextmanager
def writing(database):
    """Another writer in Airflow's database."""
    with contextlib.closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.rollback()


@pytest.mark.parametrize("name", ["LOCAL_AWS_PORT", "AIRFLOW_PORT"])
def test_a_port_in_use_is_named_with_its_variable(tmp_path, name):
    stack = new_stack(tmp_path)
    port = stack.local_aws_port if name == "LOCAL_AWS_PORT" else stack.airflow_port
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        try:
            with pytest.raises(StackError) as error:
                stack.up(lambda line: None)
        finally:
            said: list[str] = []
            stack.down(lambda line: said.append(line) if line != "Nothing was up." else None)
    assert str(port) in str(error.value)
    assert f"{name}=" in str(error.value)
    # AND nothing was started by halves
    assert said == []


def test_a_port_that_is_none_is_named():
    environment = {**os.environ, "AIRFLOW_PORT": "eighty"}
    command = [sys.executable, "-m", "tools.stack", "status"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr.startswith("AIRFLOW_PORT is 'eighty'")
    assert "Traceback" not in ended.stderr


def test_a_mistyped_mode_of_iam_is_refused():
    environment = {**os.environ, "LOCAL_AWS_IAM": "enforced"}
    command = [sys.executable, "-m", "tools.stack", "status"]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 1
    assert ended.stderr == "LOCAL_AWS_IAM is 'enforced'; it has to be one of off, audit, enforce.\n"


STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) > 1:
    subprocess.Popen([sys.executable, __file__], start_new_session=True)
    time.sleep(1)
time.sleep(600)
"""


@pytest.fixture
def component(tmp_path):
    component = Component("stubborn", tmp_path / "stubborn.json", tmp_path / "stubborn.log")
    yield component
    component.stop(patience=0)


def test_what_ignores_the_polite_signal_is_killed_with_its_children(component, tmp_path):
    # GIVEN a process that ignores SIGTERM, with a child in a session of its own
    script = tmp_path / "stubborn.py"
    script.write_text(STUBBORN)
    component.start([sys.executable, str(script), "with a child"], cwd=tmp_path, env=os.environ)
    deadline = time.monotonic() + 60
    while len(component.family()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    family = component.family()
    # WHEN it is stopped, its parent having died meanwhile
    os.kill(component.process().pid, signal.SIGKILL)
    assert component.stop(patience=0.5) == set()
    # THEN the child is gone too
    assert not psutil.wait_procs(family, timeout=20)[1]


def test_another_process_with_the_number_is_not_taken_for_ours(component):
    own = psutil.Process()
    component.record.write_text(f'{{"pid": {own.pid}, "created": {own.create_time() - 1000}}}')
    assert component.process() is None
    assert component.family() == set()


@pytest.mark.parametrize("warning", [None, "The state could not be saved for 22 min."])
def test_what_the_local_aws_warns_of_reaches_whoever_asks_for_its_status(tmp_path, warning):
    # GIVEN a local AWS that answers its health page, with and without a warning
    class Health(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"status": "ready", "state": {"saved": True, "warning": warning}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Health) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        # THEN `make status` and docker's health check say it
        status = Stack(local_aws_port=server.server_port, home=tmp_path).status()
        checked = subprocess.run(
            [sys.executable, "docker/healthy.py", "local-aws"], cwd=ROOT, capture_output=True, text=True,
            env=os.environ | {"LOCAL_AWS_PORT": str(server.server_port)},
        )  # fmt: skip
        server.shutdown()
    assert ("The local AWS warns: The state could not be saved for 22 min." in status) == bool(warning)
    assert (checked.returncode, checked.stdout.strip()) == ((1, warning) if warning else (0, "ready"))
