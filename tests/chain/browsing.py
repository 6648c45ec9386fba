"""A headless Chromium, and an API server that asks who somebody is, over the database of a stack whose own takes
everybody for an administrator."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from tests.local_aws.daemon import wait_for
from tests.ports import free_port
from tools.stack import PYTHON, ROOT

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ROLES = {"admin": "admin", "operator": "user", "viewer": "viewer"}


@contextmanager
def roles_asked(stack: Any) -> Iterator[Server]:
    """An API server of the stack's Airflow, for the users of ROLES."""
    passwords = stack.home / "passwords.json"
    passwords.write_text(json.dumps({name: name for name in ROLES}))
    server = Server(f"http://127.0.0.1:{free_port()}")
    environment = stack.stack.airflow_environment() | {
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in ROLES.items()),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__API__PORT": server.url.rsplit(":", 1)[1],
        "AIRFLOW__API__BASE_URL": server.url,
    }
    # Tasks call the other one.
    command = [str(PYTHON), "-m", "tools.airflow_component", "api-server", "--apps", "core"]
    with (stack.logs / "roles.log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        wait_for(lambda: process.poll() is not None or server.is_up(), 300, "the API server does not start")
        assert process.poll() is None, (stack.logs / "roles.log").read_text()[-2000:]
        yield server
    finally:
        # It waits for the connections that a browser keeps open, for as long as these like.
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait(30)


class Server:
    """Where the API server listens, and its users' tokens."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False
        self._tokens: dict[str, str] = {}

    def is_up(self) -> bool:
        try:
            return self._session.get(f"{self.url}/api/v2/version", timeout=5).ok
        except requests.RequestException:
            return False

    def token(self, user: str) -> str:
        if user not in self._tokens:
            answer = self._session.post(f"{self.url}/auth/token", json={"username": user, "password": user}, timeout=60)
            self._tokens[user] = answer.json()["access_token"]
        return self._tokens[user]

    def call(self, user: str, method: str, path: str, **more: Any) -> requests.Response:
        """A call of a user, of nobody where that is empty."""
        cookies = {"_token": self.token(user)} if user else {}
        return self._session.request(method, f"{self.url}{path}", cookies=cookies, timeout=60, **more)


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser of the system. A machine without one skips the test."""
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("There is no Chromium (on Debian: apt-get install chromium).")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Its sandbox refuses to be root's, and what it opens is ours.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Person:
    """A user in front of the browser; `complaints` is what the browser had to say of the pages."""

    def __init__(self, browser: Any, server: Server, user: str, **context: Any) -> None:
        self.context = browser.new_context(base_url=server.url, **context)
        if user:
            self.context.add_cookies([{"name": "_token", "value": server.token(user), "url": server.url}])
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda said: self._hear(said))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"a dialog: {dialog.message}"))

    def _hear(self, said: Any) -> None:
        if said.type == "error":
            self.complaints.append(said.text)


def violations(page: Any) -> list[str]:
    """What axe finds wrong with a page or a frame, as a line each."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{each['id']} {node['target']}: {node['html'][:200]}" for each in found for node in each["nodes"]]
