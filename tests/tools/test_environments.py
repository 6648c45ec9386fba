"""An environment is made once, and anew when a pin or the Python behind it changes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import environments


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A checkout with pins; what the set-up would run is written down instead of being run for minutes."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements/airflow.txt").write_text("boto3==1.43.56\n")
    commands: list[list[str]] = []

    def run(command: list[str], **environment: str) -> None:
        commands.append(command)
        if "venv" in command:
            (Path(command[-1]) / "bin").mkdir(parents=True, exist_ok=True)
            (Path(command[-1]) / "bin/python").touch()

    monkeypatch.setattr(environments, "ROOT", tmp_path)
    monkeypatch.setattr(environments, "run", run)
    monkeypatch.setattr(environments, "bootstrap_uv", lambda: "uv")
    return commands


def test_the_second_call_does_nothing(made):
    # GIVEN an environment that was made
    assert environments.install("airflow")
    done = len(made)
    # WHEN it is asked for again THEN nothing is run
    assert not environments.install("airflow")
    assert len(made) == done


def test_a_changed_pin_is_noticed(made, tmp_path):
    # GIVEN an environment that was made
    environments.install("airflow")
    # WHEN a pin changes
    (tmp_path / "requirements/airflow.txt").write_text("boto3==1.43.57\n")
    made.clear()
    # THEN the packages are brought in line, in the environment that is there
    assert environments.install("airflow")
    assert [command[1:3] for command in made] == [["pip", "sync"]]


def test_packages_are_compiled_as_they_are_imported_and_not_before(made):
    # A minute of CPU for both environments, most of it for what nobody imports. That `make` and the tests let Python
    # keep what it compiles is in test_makefile.py and test_run_tests.py.
    environments.install("airflow")
    (sync,) = [command for command in made if "sync" in command]
    assert "--compile-bytecode" not in sync
    assert environments.install("airflow") is False


@pytest.mark.parametrize(("version", "there"), [("24.0", True), ("22.3.1", True), ("22.0.2", False), (None, False)])
def test_uv_is_installed_by_the_pip_that_is_there_if_that_can(tmp_path, monkeypatch, version, there):
    def found(name: str) -> str:
        if version is None:
            raise environments.metadata.PackageNotFoundError(name)
        return version

    commands: list[list[str]] = []
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    monkeypatch.setattr(environments, "run", commands.append)
    monkeypatch.setattr(environments.metadata, "version", found)
    assert environments.bootstrap_uv() == str(tmp_path / ".venv-uv/bin/uv")
    assert ("--without-pip" in commands[0], "--python" in commands[1]) == (there, there)
    assert str(tmp_path / ".venv-uv/bin/python") in commands[1]


def test_another_python_makes_the_environment_anew(made, monkeypatch):
    environments.install("airflow")
    made.clear()
    monkeypatch.setattr(environments.sys, "version", "3.12.1 (another)")
    assert environments.install("airflow")
    assert made[0][1] == "venv"


def test_an_interrupted_set_up_is_taken_up_again(made, monkeypatch, tmp_path):
    # GIVEN a set-up that broke off while packages were installed
    def broken(command: list[str], **environment: str) -> None:
        (tmp_path / ".venv").mkdir(exist_ok=True)
        if "sync" in command:
            raise SystemExit(1)

    with monkeypatch.context() as patch:
        patch.setattr(environments, "run", broken)
        with pytest.raises(SystemExit):
            environments.install("airflow")
    # WHEN it is asked for again THEN it is not taken for done
    assert environments.install("airflow")
    assert made


def test_a_python_that_does_not_fit_is_named(monkeypatch, capsys):
    monkeypatch.setattr(environments.sys, "version_info", (3, 10, 4, "final", 0))
    monkeypatch.setattr(environments.sys, "argv", ["environments.py"])
    assert environments.main() == 1
    message = capsys.readouterr().err
    assert "3.10" in message
    assert "make PYTHON=" in message


def test_an_older_airflow_has_mwaas_python_and_an_environment_of_its_own(made, tmp_path):
    (tmp_path / "requirements/airflow-3.2.1.txt").write_text("boto3==1.42.84\n")
    assert environments.install("airflow-3.2.1")
    python, folder = made[0][-2:]
    assert python == environments.mwaas_python()
    assert folder == str(tmp_path / ".venv-airflow-3.2.1")
    assert not environments.install("airflow-3.2.1")


def test_an_airflow_that_is_not_supported_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(environments.sys, "argv", ["environments.py", "airflow-3.0.6"])
    assert environments.main() == 1
    assert capsys.readouterr().err == (
        "Airflow 3.0.6 is not supported: of MWAA's lines, the one that requirements/airflow.in pins is, and 3.2.1.\n"
    )


def lines_of(name: str) -> list[Requirement]:
    text = (environments.ROOT / "requirements" / name).read_text()
    return [Requirement(line) for line in re.sub(r"#.*", "", text).splitlines() if line.strip()]


@pytest.mark.parametrize("name", environments.SOURCES)
def test_the_pins_are_what_the_requirements_ask_for(name):
    """`make lock` was run after the last change."""
    pins = {canonicalize_name(pin.name): next(iter(pin.specifier)).version for pin in lines_of(f"{name}.txt")}
    asked = [each for source in environments.SOURCES[name] for each in lines_of(source)]
    assert [str(each) for each in asked if not each.specifier.contains(pins[canonicalize_name(each.name)])] == []


@pytest.mark.slow
def test_scripts_find_what_aws_images_carry():
    # pkg_resources is for the inference toolkit's own start.
    modules = "boto3 cloudpickle imageio matplotlib.pyplot pandas PIL pkg_resources requests scipy.stats seaborn"
    modules += " sklearn.metrics sklearn.model_selection tqdm yaml"
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    command = [environments.folder_of("ml") / "bin/python", "-W", "ignore", "-c", code, *modules.split()]
    said = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert said.returncode == 0, said.stderr


def test_an_older_airflow_is_tested_with_all_that_the_newest_needs():
    newest = {each.name for each in lines_of("airflow.in")}
    for name in environments.OLDER:
        assert {each.name for each in lines_of(f"{name}.in")} == newest


def test_a_package_that_cannot_be_had_is_one_sentence(capfd):
    with pytest.raises(SystemExit) as end:
        environments.run(["false"])
    assert end.value.code == 1
    assert "package index" in capfd.readouterr().err


def test_lock_leaves_out_what_only_a_gpu_needs():
    compiled = "torch==2.13.0+cpu ; sys_platform == 'linux'\ntorch==2.13.0 ; sys_platform == 'darwin'\n"
    compiled += "nvidia-cublas-cu12==1.0\ntriton==3.0\ncuda-bindings==13\npillow==12.0\n"
    assert environments.plain(compiled) == "torch==2.13.0\npillow==12.0\n"
