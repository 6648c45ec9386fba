"""The page in Airflow's own API server, of whichever version these tests run with: mounted, and by its rights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugins.page.serving_airflow import USERS

ROOT = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    home = tmp_path_factory.mktemp("airflow")
    (home / "dags").mkdir()
    (home / "passwords.json").write_text(json.dumps({name: name for name in USERS}))
    options = {
        "CORE__DAGS_FOLDER": home / "dags",
        "CORE__PLUGINS_FOLDER": ROOT / "plugins",
        "CORE__LOAD_EXAMPLES": False,
        "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{name}:{role}" for name, role in USERS.items()),
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": home / "passwords.json",
        "DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "API_AUTH__JWT_SECRET": "a secret of the tests alone, long enough for HS512: 64 bytes, or more",
        "LOGGING__LOGGING_LEVEL": "ERROR",
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS"))}
    environment |= {f"AIRFLOW__{name}": str(value) for name, value in options.items()}
    environment |= {"AIRFLOW_HOME": str(home), "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}"}
    program = str(Path(__file__).with_name("serving_airflow.py"))
    done = subprocess.run(
        [sys.executable, program], env=environment, cwd=home, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_airflow_has_the_page_in_its_navigation_and_the_tab_on_runs(answers):
    (ours,) = [each for each in answers["plugins"]["plugins"] if each["name"] == "musher"]
    assert [each["url_prefix"] for each in ours["fastapi_apps"]] == ["/musher"]
    views = {each["destination"]: each for each in ours["external_views"]}
    assert (views["nav"]["url_route"], views["dag_run"]["url_route"]) == ("musher", "report")
    assert views["dag_run"]["href"] == "musher/report/{DAG_ID}/{RUN_ID}"


def test_who_is_signed_out_sees_nothing(answers):
    assert {name: told[0] for name, told in answers.items() if name.startswith("nobody")} == {
        "nobody: page": 401, "nobody: style": 401, "nobody: no run": 401, "nobody: photo": 401,
    }  # fmt: skip


def test_a_viewer_sees_and_an_operator_may_do(answers):
    for user in USERS:
        status, page = answers[f"{user}: page"]
        assert status == 200
        assert "What serves" in page
        # without its Variable the page is there, and each panel says what it lacks
        assert "Variable" in page
        assert ('id="photo"' in page) == (user == "operator")
        assert answers[f"{user}: style"][0] == 200
        assert answers[f"{user}: no run"][0] == 404
    assert answers["viewer: photo"][0] == 403
    status, said = answers["operator: photo"]
    assert (status, "Variable" in json.loads(said)["error"]) == (409, True)
