"""The environment of one instance over the one that all share."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from local_aws.environments import Environments, pip_variables
from tests.local_aws.daemon import JOBS_PYTHON


def run(*command: object) -> str:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.slow
def test_the_images_packages_and_commands_are_there_wherever_it_lies(tmp_path):
    # GIVEN a folder whose path a script's first line could not hold
    folder = tmp_path / "with a space" / ("long-" * 30)
    python = Environments(JOBS_PYTHON).make(folder)
    # THEN its Python and its pip are its own, and find the image's packages
    assert run(python, "-c", "import sys; print(sys.prefix)") == str(folder)
    version = run(JOBS_PYTHON, "-c", "import tqdm; print(tqdm.__version__)")
    assert run(python, "-c", "import tqdm; print(tqdm.__version__)") == version
    assert run(folder / "bin" / "tqdm", "--version") == version
    assert f"tqdm=={version}" in run(folder / "bin" / "pip", "freeze").splitlines()
    assert run(folder / "bin" / "pip", "freeze", "--local") == ""
    # torchvision can be imported as in the environment below.
    run(python, "-c", "import torchvision")


def test_what_is_no_python_is_one_sentence(tmp_path):
    with pytest.raises(OSError, match="false is no Python that jobs can run in"):
        Environments(Path("/bin/false")).make(tmp_path)


def test_pip_reaches_a_package_index_as_it_does_on_this_machine(tmp_path):
    configuration = tmp_path / ".config/pip/pip.conf"
    configuration.parent.mkdir(parents=True)
    configuration.touch()
    given = {"PIP_INDEX_URL": "https://index.example/simple", "HTTPS_PROXY": "http://proxy.example:3128",
             "PIP_USER": "1", "AWS_SECRET_ACCESS_KEY": "secret"}  # fmt: skip
    assert pip_variables(False, given, tmp_path) == {
        "PIP_INDEX_URL": "https://index.example/simple",
        "PIP_PROXY": "http://proxy.example:3128",
        "PIP_CONFIG_FILE": str(configuration),
    }
    assert pip_variables(True, given, tmp_path) == {"PIP_NO_INDEX": "1"}
