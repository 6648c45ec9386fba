"""Every command of the pages is run, as a newcomer would run it: in a fresh copy of the project.

What stands behind a fence says how: `sh` runs as it is; `sh up` while the stack is up; `sh until-ctrl-c` is started and
interrupted. The others are not run here: `sh needs-account` (AWS's own), `sh needs-docker` (`make test-compose` does),
`sh takes-minutes` (continuous integration and people do).
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError

from tests.docs.pages import DOCS, PAGES, ROOT, Block, blocks
from tests.local_aws.daemon import Daemon, make_role, wait_for
from tests.local_aws.ec2_hosts import Hosts
from tests.local_aws.serving import Serving
from tests.ports import free_port
from tools import bootstrap

ALL = [block for page in PAGES for block in blocks(page)]
COMMANDS = [block for block in ALL if block.info.split(" ")[0] == "sh"]
NOT_HERE = {"sh needs-account", "sh needs-docker", "sh takes-minutes"}
HERE = {"sh", "sh up", "sh until-ctrl-c"}
# What stops the stack comes last, and finds it up: each start of Airflow takes as long as all other commands.
STOPS = "make down"


def of_kind(info: str) -> list[Block]:
    return [block for block in COMMANDS if block.info == info]


def named(found: list[Block]) -> dict:
    return {"argvalues": found, "ids": [block.name for block in found]}


class Copy:
    """A copy of the project as it would be committed now, with environments and ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "musher"
        self.local_aws_port, self.airflow_port = free_port(), free_port()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "VIRTUAL_ENV"))}
        self.environment = {
            **inherited,
            "PYTHON": sys.executable,
            "LOCAL_AWS_PORT": str(self.local_aws_port),
            "AIRFLOW_PORT": str(self.airflow_port),
            "GIT_AUTHOR_NAME": "newcomer",
            "GIT_AUTHOR_EMAIL": "newcomer@example.com",
            "GIT_COMMITTER_NAME": "newcomer",
            "GIT_COMMITTER_EMAIL": "newcomer@example.com",
        }
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0"):
            if name and (ROOT / name).is_file():
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.folder / name)
        self.run("git init --quiet && git add --all && git commit --quiet --message copy")
        # At once for what makes the environments, and in their place for what runs in them afterwards.
        compiled = folder / "compiled"
        self.link_compiled(compiled / self.folder.relative_to("/"), "")
        self.run(f"PYTHONPYCACHEPREFIX={compiled} make environments", 800)
        self.link_compiled(self.folder, "__pycache__")

    @staticmethod
    def link_compiled(place: Path, folder: str) -> None:
        """What this checkout's environments have compiled, into a folder beside each module below a place: the copy
        has the same files, linked from uv's cache, and Python looks whether they are the same."""
        for environment in (".venv", ".venv-ml"):
            for file in (ROOT / environment).rglob("__pycache__/*.pyc"):
                target = place / file.relative_to(ROOT).parent.parent / folder / file.name
                target.parent.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(OSError):  # another file system, or one that is compiled already
                    os.link(file, target)

    def run(self, text: str, seconds: float = 800) -> str:
        """Run lines as one shell would, up to the first that fails; what they printed."""
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", text],
            cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=seconds, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\nended with status {done.returncode}:\n{done.stdout[-4000:]}"
        return done.stdout

    def here(self, text: str) -> str:
        """A block's lines with this copy's port where they have the default one."""
        text = re.sub(r"\b4566\b", str(self.local_aws_port), text)
        return re.sub(
            r"(-m local_aws (?:interrupt|capacity|quota|iam) [^#\n]*)", rf"\1 --port {self.local_aws_port} ", text
        )


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    copy = Copy(tmp_path_factory.mktemp("copy"))
    yield copy
    copy.run("make down")


@pytest.fixture(scope="module")
def aws_cli(copy, tmp_path_factory):
    """The aws CLI on the path of the copy's commands: no part of the project, its botocore is another."""
    folder = tmp_path_factory.mktemp("aws")
    try:
        copy.run(f".venv-uv/bin/uv venv --quiet --python {sys.executable} {folder}")
        copy.run(f".venv-uv/bin/uv pip install --quiet --python {folder} awscli")
    except AssertionError as error:
        pytest.skip(f"the aws CLI cannot be installed: {error}")
    copy.environment["PATH"] = f"{folder}/bin{os.pathsep}{copy.environment['PATH']}"


@pytest.fixture(scope="module")
def up(copy):
    """The copy's stack, with the things in its account that the pages speak of; what stands for their names."""
    copy.run("make up")
    daemon = Daemon(copy.local_aws_port, Path(), 2, None, Path(), tuple(bootstrap.CREDENTIALS.values()))
    bucket = "musher-123456789012"
    daemon.client("s3").put_object(Bucket=bucket, Key="runs/mine/dataset.json", Body=b"{}")
    serving = Serving(daemon, bucket, make_role(daemon))
    config = serving.config(serving.model())
    serving.sagemaker.create_endpoint(EndpointName="musher-image-classifier", EndpointConfigName=config)
    serving.wait("musher-image-classifier", "Creating", seconds=120)
    (copy.folder / "picture.jpg").write_text("{}")  # what the endpoint's model takes for a picture
    hosts = Hosts(daemon)
    spot = {"MarketType": "spot"}
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "dag", "Value": "train_on_ec2"}]}]
    instance = hosts.run(InstanceMarketOptions=spot, TagSpecifications=tags)
    hosts.wait(instance, "running", seconds=120)
    yield {"i-0123456789abcdef0": instance}
    with contextlib.suppress(EndpointConnectionError):  # the last block has stopped it
        hosts.terminate_all()


def test_every_block_of_commands_says_how_it_is_run():
    assert COMMANDS
    assert {block.info for block in COMMANDS} <= HERE | NOT_HERE
    # A block without a language would hide its commands.
    assert [block.name for block in ALL if not block.info] == []


@pytest.mark.parametrize("block", **named([block for block in of_kind("sh") if STOPS not in block.text]))
def test_a_block_does_what_it_says(copy, block):
    assert "no tests ran" not in copy.run(copy.here(block.text))


@pytest.mark.parametrize("block", **named(of_kind("sh until-ctrl-c")))
def test_a_server_runs_until_it_is_interrupted(copy, block):
    (line,) = block.text.split("#")[0].splitlines()
    line = re.sub(r"--port \d+", f"--port {free_port()}", line)
    log = copy.folder / "build/server.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("w") as output:
        process = subprocess.Popen(line.split(), cwd=copy.folder, env=copy.environment, stdout=output, stderr=output)
    try:
        wait_for(lambda: "ready on" in log.read_text() or process.poll() is not None, 60)
        assert process.poll() is None, log.read_text()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("block", **named(of_kind("sh up")))
def test_a_block_does_what_it_says_while_the_stack_is_up(copy, aws_cli, up, block):
    text = copy.here(block.text)
    for name, real in up.items():
        text = text.replace(name, real)
    exported = "\n".join(line for each in of_kind("sh up") for line in each.text.splitlines() if "export " in line)
    copy.run(f"{copy.here(exported)}\n{text}")


def test_the_program_for_boto3_finds_what_is_in_the_account(copy, up):
    page = DOCS / "your_own.md"
    assert all(value in page.read_text() for value in bootstrap.CREDENTIALS.values())
    (block,) = [each for each in blocks(page) if "list_training_jobs" in each.text]
    (copy.folder / "build/program.py").write_text(copy.here(block.text))
    # The DAG of every day may have written its own by now.
    assert "runs/mine/" in copy.run(".venv/bin/python build/program.py").splitlines()


@pytest.mark.parametrize("block", **named([block for block in of_kind("sh") if STOPS in block.text]))
def test_a_block_that_stops_the_stack_does_what_it_says(copy, up, block):
    assert "no tests ran" not in copy.run(copy.here(block.text))
