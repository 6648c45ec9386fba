"""torchvision can be imported in the jobs' environment by any script, and is touched only where it has to be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import environments

MENDING = environments.MENDING["ml"]
ADDED = {"torchvision_without_cuda.py", "torchvision_without_cuda.pth"}
# torch's dispatcher and torchvision's import, as far as they matter here.
TORCH = {
    "torch/__init__.py": "from torch import library\n",
    "torch/library.py": """
defined = set()

class Library:
    def __init__(self, namespace, kind):
        self.namespace = namespace
    def define(self, schema):
        defined.add(f"{self.namespace}::{schema.partition('(')[0]}")
""",
}
BUILT_FOR_CUDA = """
from torchvision import extension
from torch.library import defined
for name in ("nms", "qnms"):
    if f"torchvision::{name}" not in defined:
        raise RuntimeError(f"operator torchvision::{name} does not exist")
"""


def installed_with(folder: Path, torchvision: str) -> tuple[Path, Path]:
    """An environment with that torchvision: its Python and its packages' folder."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (packages,) = folder.glob("lib/python3*/site-packages")
    contents = TORCH | {"torchvision/__init__.py": torchvision, "torchvision/extension.py": ""}
    for name, text in contents.items():
        (packages / name).parent.mkdir(exist_ok=True)
        (packages / name).write_text(text)
    return folder / "bin" / "python", packages


def run(python: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run([str(python), *map(str, arguments)], capture_output=True, text=True, env=environment)


def added(packages: Path) -> set[str]:
    return {path.name for path in packages.glob("torchvision_*")}


def test_a_torchvision_that_was_built_for_cuda_can_be_imported(tmp_path):
    python, packages = installed_with(tmp_path / "venv", BUILT_FOR_CUDA)
    assert "torchvision::nms does not exist" in run(python, "-c", "import torchvision").stderr
    assert run(python, MENDING).returncode == 0
    assert added(packages) == ADDED
    assert run(python, "-c", "import torchvision.extension").stderr == ""
    # Python itself starts without torch.
    assert run(python, "-c", "import sys; sys.exit('torch' in sys.modules)").returncode == 0


def test_a_torchvision_that_fits_is_left_alone(tmp_path):
    python, packages = installed_with(tmp_path / "venv", BUILT_FOR_CUDA)
    run(python, MENDING)
    (packages / "torchvision/__init__.py").write_text("from torch.library import defined\nassert not defined\n")
    # Also by what was added for another one.
    assert run(python, "-c", "import torchvision").stderr == ""
    assert run(python, MENDING).returncode == 0
    assert added(packages) == set()


def test_another_reason_is_one_sentence(tmp_path):
    python, packages = installed_with(tmp_path / "venv", "import no_such_package\n")
    said = run(python, MENDING)
    assert said.returncode == 1
    assert said.stderr == (
        f"set-up: torchvision cannot be imported by {python}: ModuleNotFoundError: No module named 'no_such_package'\n"
    )
    assert added(packages) == set()


PARTS = ("torchvision.models", "torchvision.transforms.v2", "torchvision.datasets")
# To import torch takes seconds: one process imports all, and goes on after one that cannot be imported; last of all it
# calls an operator.
IMPORTS_EACH = """
import sys, traceback
for name in sys.argv[1:]:
    try:
        __import__(name)
        print(name, flush=True)
    except Exception:
        traceback.print_exc()
import torch, torchvision
torchvision.ops.nms(torch.zeros(2, 4), torch.ones(2), 0.5)
"""


@pytest.fixture(scope="module")
def jobs() -> subprocess.CompletedProcess[str]:
    """A process that tries to import all of PARTS, and prints what could be imported, before it calls an operator."""
    return run(environments.folder_of("ml") / "bin" / "python", "-c", IMPORTS_EACH, *PARTS)


@pytest.mark.slow
@pytest.mark.parametrize("what", PARTS)
def test_the_jobs_environment_imports(jobs, what):
    assert what in jobs.stdout.splitlines(), jobs.stderr


@pytest.mark.slow
def test_an_operator_that_is_not_there_says_so(jobs):
    # It works where torchvision fits; elsewhere torchvision itself says what is missing.
    assert jobs.returncode == 0 or "Couldn't load custom C++ ops" in jobs.stderr, jobs.stderr
