"""AWS's own linter finds nothing in the templates, and would find what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra import policy_rules
from tools import infrastructure
from tools.cloudformation import FOLDER

BODY = infrastructure.TEMPLATE.read_text()
PATHS = sorted(FOLDER.glob("*.yaml"))
# What is changed in the main template, to what, and the rule that has to notice.
MISTAKES = [
    ("sagemaker:StopTrainingJob", "sagemaker:EndTrainingJob", "W3037"),  # no such action
    ("!GetAtt Ec2Role.Arn", "!GetAtt Ec2Rule.Arn", "E1010"),
    ("RetentionInDays", "RetentionDays", "E3002"),
]
KINDS = [("training-job", False), ("processing-job", True)]

pytestmark = pytest.mark.slow


def lint(*paths: Path) -> subprocess.CompletedProcess[str]:
    """What cfn-lint says of templates, each in a line with its file's name; it takes seconds to start."""
    command = [Path(sys.executable).with_name("cfn-lint"), "--include-checks", "I", "--format", "parseable"]
    command += ["--regions", "us-east-1", "eu-central-1", "--", *paths]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True)


@pytest.fixture(scope="module")
def ours() -> subprocess.CompletedProcess[str]:
    return lint(*PATHS)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The lines on each changed template, by what it was changed to."""
    folder = tmp_path_factory.mktemp("templates")
    files: dict[str, Path] = {}
    for number, (right, wrong, _) in enumerate(MISTAKES):
        assert right in BODY
        files[wrong] = folder / f"broken-{number}.yaml"
        files[wrong].write_text(BODY.replace(right, wrong))
    text = json.dumps(policy_rules.filled_in(infrastructure.load(BODY)))
    assert text.count(":training-job/musher-*") == 1
    for kind, _ in KINDS:
        files[kind] = folder / f"filled-in-{kind}.json"
        files[kind].write_text(text.replace(":training-job/musher-*", f":{kind}/musher-*"))
    lines = lint(*files.values()).stdout.splitlines()
    return {change: [line for line in lines if line.startswith(f"{file}:")] for change, file in files.items()}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_it_finds_nothing(ours, path):
    assert [line for line in ours.stdout.splitlines() if str(path) in line] == []
    assert (ours.returncode, ours.stdout, ours.stderr) == (0, "", "")


@pytest.mark.parametrize(("right", "wrong", "rule"), MISTAKES)
def test_it_finds_what_is_wrong(changed, right, wrong, rule):
    assert any(f":{rule}:" in line for line in changed[wrong]), changed[wrong]


@pytest.mark.parametrize(("kind", "expected"), KINDS)
def test_every_action_has_an_arn_of_its_kind(changed, kind, expected):
    found = [line for line in changed[kind] if "I3510" in line]
    assert any("action 'sagemaker:CreateTrainingJob' requires" in line for line in found) is expected
    assert bool(found) is expected
