"""The workflows of GitHub Actions: what they may do, and that what they call is there. Only GitHub runs them."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools import cloudformation

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".github/workflows"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def workflow(name: str) -> dict[str, Any]:
    """A workflow; YAML takes its key `on` for true."""
    content = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    return {**content, "on": content[True]}


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in workflow(name)["jobs"].values() for step in job.get("steps", [])]


def test_the_workflows_are_these():
    assert NAMES == ["airflow", "ci", "deploy", "images"]


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_reads_the_repository_and_nothing_more(name):
    assert workflow(name)["permissions"] == {"contents": "read"}
    for key, job in workflow(name)["jobs"].items():
        more = {"contents": "read", "id-token": "write"} if (name, key) == ("deploy", "deploy") else None
        assert job.get("permissions") == more, key


@pytest.mark.parametrize("name", NAMES)
def test_actions_are_pinned_and_keep_no_credentials(name):
    for step in steps(name):
        if "uses" in step:
            # By its commit: whoever has a repository may move its tags.
            assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", step["uses"]), step["uses"]
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"] == {"persist-credentials": False}


@pytest.mark.parametrize("name", NAMES)
def test_a_pinned_action_says_its_version(name):
    pinned = re.findall(r"uses: ([^.\s]\S*)(.*)", (FOLDER / f"{name}.yaml").read_text())
    assert [more for _, more in pinned if not re.fullmatch(r" # v\d+\.\d+\.\d+", more)] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_job_ends(name):
    for key, job in workflow(name)["jobs"].items():
        assert "uses" in job or 0 < job["timeout-minutes"] <= 120, key


@pytest.mark.parametrize("name", NAMES)
def test_what_a_workflow_makes_is_a_target(name):
    made = set(re.findall(r"\bmake ([a-z-]+)", " ".join(step.get("run", "") for step in steps(name))))
    assert made <= TARGETS
    assert made


@pytest.mark.parametrize("name", NAMES)
def test_no_workflow_knows_a_secret(name):
    text = (FOLDER / f"{name}.yaml").read_text()
    assert "secrets." not in text
    assert not re.search(r"aws-(access-key-id|secret-access-key|session-token)|AWS_(ACCESS|SECRET)", text)


def test_one_action_has_one_version():
    used: dict[str, set[str]] = {}
    for step in (step for name in NAMES for step in steps(name) if "uses" in step):
        action, version = step["uses"].split("@")
        used.setdefault(action, set()).add(version)
    assert {action: versions for action, versions in used.items() if len(versions) > 1} == {}


def test_only_a_tag_deploys_and_only_after_the_tests():
    deploy = workflow("deploy")
    assert deploy["on"] == {"push": {"tags": ["v*"]}}
    job = deploy["jobs"]["deploy"]
    assert job["needs"] == "ci"
    assert deploy["jobs"]["ci"] == {"uses": "./.github/workflows/ci.yaml"}
    assert "startsWith(github.ref, 'refs/tags/v')" in job["if"]
    assert deploy["concurrency"] == {"group": "deploy", "cancel-in-progress": False}


def test_a_tag_runs_the_tests_once():
    """A push of a tag would start ci.yaml as well, beside the call from deploy.yaml."""
    assert workflow("ci")["on"] == {"push": {"branches": ["**"]}, "workflow_call": None}


def test_the_environment_is_the_one_that_the_role_trusts_and_the_settings_are_for():
    job = workflow("deploy")["jobs"]["deploy"]
    template = cloudformation.load((cloudformation.FOLDER / "github.yaml").read_text())
    assert job["environment"] == template["Parameters"]["GitHubEnvironment"]["Default"]
    assert f"ENV={job['environment']}" in job["steps"][-1]["run"]


def test_the_region_is_that_of_the_settings(tmp_path):
    """The step that reads it, run on the example."""
    (step,) = [each for each in steps("deploy") if each.get("id") == "settings"]
    output = tmp_path / "output"
    text = step["run"].replace("production.yaml", "example.yaml")
    environment = {"GITHUB_OUTPUT": str(output), "PATH": os.environ["PATH"]}
    subprocess.run(["bash", "-e", "-c", text], cwd=ROOT, check=True, env=environment)
    assert output.read_text() == "region=us-east-1\n"
