"""The part of Airflow's REST API that the demo and the tests use."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import requests

UNFINISHED = {"queued", "running"}


class RestError(Exception):
    """An answer that is no success; `status` is its HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Airflow:
    """An Airflow at `url` whose auth manager takes everyone for an administrator."""

    def __init__(self, url: str, timeout: float = 60) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy has no business between here and the loopback address

    def ready(self) -> bool:
        """Whether API server, scheduler, triggerer and DAG processor all are healthy."""
        try:
            answer = self._session.get(f"{self.url}/api/v2/monitor/health", timeout=5)
            health = answer.json() if answer.ok else {}
        except (requests.RequestException, ValueError):
            return False
        parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        return all((health.get(part) or {}).get("status") == "healthy" for part in parts)

    def rest(self, method: str, path: str, json: Any = None, **params: Any) -> Any:
        """Call `/api/v2/<path>`; returns the decoded JSON. Raises RestError."""
        answer = self._call(method, path, json, params)
        if answer.status_code == 401:
            self._log_in()
            answer = self._call(method, path, json, params)
        if not answer.ok:
            raise RestError(f"{method} {path}: {answer.status_code} {answer.text[:500]}", answer.status_code)
        return answer.json() if answer.content else None

    def _call(self, method: str, path: str, json: Any, params: dict[str, Any]) -> requests.Response:
        address = f"{self.url}/api/v2/{path.lstrip('/')}"
        return self._session.request(
            method, address, json=json, params=params, timeout=self.timeout, headers={"Accept": "application/json"}
        )

    def _log_in(self) -> None:
        answer = self._session.get(f"{self.url}/auth/token", timeout=self.timeout)
        answer.raise_for_status()
        self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def set_variable(self, key: str, value: str, description: str = "") -> bool:
        """Create or change a Variable; False when it has this value already."""
        body = {"key": key, "value": value, "description": description}
        try:
            if self.rest("GET", f"variables/{key}")["value"] == value:
                return False
            self.rest("PATCH", f"variables/{key}", body)
        except RestError as error:
            if error.status != 404:
                raise
            self.rest("POST", "variables", body)
        return True

    def wait_for_dag(self, dag_id: str, seconds: float = 120) -> None:
        """Wait until the DAG's file was read. Raises RestError with the import error, or when time is up."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.rest("GET", f"dags/{dag_id}")
                return
            except RestError as error:
                if error.status != 404:
                    raise
            for broken in self.rest("GET", "importErrors")["import_errors"]:
                if dag_id in broken["filename"]:
                    last = broken["stack_trace"].strip().splitlines()[-1]
                    raise RestError(f"{broken['filename']} cannot be read: {last}", 404)
            if time.monotonic() > deadline:
                raise RestError(f"Airflow has not found the DAG {dag_id} within {seconds:.0f} s", 404)
            time.sleep(0.5)

    def unpause(self, dag_id: str) -> None:
        """Let the DAG run."""
        self.rest("PATCH", f"dags/{dag_id}", {"is_paused": False}, update_mask="is_paused")

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None, run_id: str | None = None) -> str:
        """Start a run; returns its id."""
        body: dict[str, Any] = {"conf": conf or {}, "logical_date": None}
        if run_id:
            body["dag_run_id"] = run_id
        return self.rest("POST", f"dags/{dag_id}/dagRuns", body)["dag_run_id"]

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """The run, with its `state`."""
        return self.rest("GET", f"dags/{dag_id}/dagRuns/{run_id}")

    def runs(self, dag_id: str, **filters: Any) -> list[dict[str, Any]]:
        """The DAG's newest runs, the newest first."""
        return self.rest("GET", f"dags/{dag_id}/dagRuns", order_by="-run_after", limit=50, **filters)["dag_runs"]

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """The run's task instances."""
        return self.rest("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=100)["task_instances"]

    def wait(
        self,
        dag_id: str,
        run_id: str,
        timeout: float = 300,
        watch: Callable[[list[dict[str, Any]]], None] | None = None,
    ) -> dict[str, Any]:
        """Wait for the run's end and return the run; `watch` sees the task instances each second.

        Raises TimeoutError naming the tasks that are not done.
        """
        deadline = time.monotonic() + timeout
        while True:
            run = self.run(dag_id, run_id)
            if watch is not None:
                watch(self.task_instances(dag_id, run_id))
            if run["state"] not in UNFINISHED:
                return run
            if time.monotonic() > deadline:
                tasks = {task["task_id"]: task["state"] for task in self.task_instances(dag_id, run_id)}
                open_ones = {name: state for name, state in tasks.items() if state not in ("success", "skipped")}
                raise TimeoutError(f"{dag_id} {run_id} is {run['state']} after {timeout:.0f} s: {open_ones}")
            time.sleep(1)

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """What a task returned; None when there is nothing."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        try:
            return self.rest("GET", path, deserialize="true")["value"]
        except RestError as error:
            if error.status == 404:
                return None
            raise

    def log(self, dag_id: str, run_id: str, task_id: str, attempt: int, map_index: int = -1) -> list[dict[str, Any]]:
        """The entries of one attempt's log: `event`, `level`, and `error_detail` where an exception was logged."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{attempt}"
        content = self.rest("GET", path, map_index=map_index, full_content="true")["content"]
        return [entry if isinstance(entry, dict) else {"event": entry} for entry in content]

    def error_of(self, dag_id: str, run_id: str, task: dict[str, Any]) -> str:
        """The last thing that a failed task logged as an error: the exception's message where there is one."""
        entries = self.log(dag_id, run_id, task["task_id"], max(task["try_number"], 1), task["map_index"])
        for entry in reversed(entries):
            for detail in reversed(entry.get("error_detail") or []):
                if detail.get("exc_value"):
                    return str(detail["exc_value"])
        wrong = [entry["event"] for entry in entries if entry.get("level") in ("error", "critical")]
        return str(wrong[-1]) if wrong else "its log names no error"
