"""The package for MWAA: what is in it, that equal sources give equal bytes, and that every DAG parses from it alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.tools.conftest import commit, git
from tools import environments, package

ROOT = Path(__file__).resolve().parents[2]
UV = ROOT / ".venv-uv" / "bin" / "uv"
# The requirements of the Airflow that runs the tests: `make test-airflow` runs these on an older one.
LINE = package.requirements_of({str(path.relative_to(ROOT)): b"" for path in (ROOT / "requirements").glob("*.in")})

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed, and a package needs it")

# What Airflow's DAG processor does with the folders of MWAA, and what is found from there.
PARSE = """
import importlib, json, pkgutil, socket, sys
def refuse(*_, **__):
    raise OSError("a DAG file must not use the network when it is parsed")
import airflow.sdk, airflow.dag_processing.dagbag
socket.socket.connect = refuse
from airflow import plugins_manager, settings
from airflow.dag_processing.dagbag import DagBag
from airflow.configuration import conf
settings.prepare_syspath_for_config_and_plugins()
plugins_manager.ensure_plugins_loaded()
loaded = dict(sys.modules)
dags = conf.get("core", "dags_folder")
bag = DagBag(dags, safe_mode=False)
heavy = [name for name in ("torch", "sagemaker", "matplotlib", "numpy", "moto", "pandas") if name in sys.modules]
import musher
from musher import staging
for module in pkgutil.walk_packages(musher.__path__, "musher."):
    importlib.import_module(module.name)
for name in sys.argv[1:]:
    importlib.import_module(name)
print("RESULT" + json.dumps({
    "errors": bag.import_errors,
    "heavy": heavy,
    "dags": sorted(bag.dags),
    "parsed": sorted(each.file for each in bag.dagbag_stats),
    "taken_for_plugins": sorted(
        name for name, module in loaded.items()
        if str(getattr(module, "__file__", None)).startswith(conf.get("core", "plugins_folder"))
        and name.split(".")[0] != "musher"
    ),
    "musher": musher.__file__,
    "ml_scripts": str(staging.ml_scripts_folder()),
    "lambda": str(staging.lambda_folder()),
    "python": list(sys.version_info[:2]),
}))
"""


@pytest.fixture(scope="session")
def mwaa(packed: package.Package, tmp_path_factory) -> Path:
    """The folders as MWAA lays them: dags/ and plugins/ in one home, and nothing else of this project."""
    written = tmp_path_factory.mktemp("build") / "mwaa"
    package.write(packed, written)
    home = tmp_path_factory.mktemp("airflow")
    shutil.copytree(written / "dags", home / "dags")
    with zipfile.ZipFile(written / "plugins.zip") as archive:
        archive.extractall(home / "plugins")
    return home


def parse(python: Path, home: Path, modules: tuple[str, ...] = (), **environment: str) -> dict:
    """Parse the DAGs of `home` with a fresh interpreter: no connection, no Variable, no socket; import `modules`."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AIRFLOW", "AWS", "MUSHER")) and name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
    clean |= {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", **environment}
    done = subprocess.run(
        [str(python), "-W", "ignore", "-c", PARSE, *modules],
        capture_output=True, text=True, env=clean, timeout=240, check=False, cwd=home,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert lines, done.stderr[-3000:]
    return json.loads(lines[0].removeprefix("RESULT"))


def assert_parsed(found: dict, home: Path) -> None:
    """Every DAG parsed, from `home` alone, and nothing but the DAGs was taken for one."""
    names = sorted(path.stem for path in (ROOT / "dags").glob("*.py"))
    assert found["errors"] == {}
    assert found["dags"] == names
    assert sorted(Path(file).stem for file in found["parsed"]) == names
    assert found["heavy"] == []
    assert found["taken_for_plugins"] == ["musher_page"]
    assert Path(found["musher"]).is_relative_to(home / "plugins")
    assert Path(found["ml_scripts"]) == home / "dags" / "ml_scripts"
    assert Path(found["lambda"]) == home / "dags" / "lambda"


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def sources_of(folder: str) -> set[str]:
    paths = (ROOT / folder).rglob("*")
    return {str(path.relative_to(ROOT / folder)) for path in paths if path.is_file() and path.suffix != ".pyc"}


# ---------------------------------------------------------------------------------------------------------- contents


def test_a_package_holds_exactly_what_mwaa_takes(packed):
    expected = {f"dags/{name}" for name in sources_of("dags")}
    expected |= {f"dags/{folder}/{name}" for folder in ("ml_scripts", "lambda") for name in sources_of(folder)}
    expected |= {"dags/.airflowignore", "plugins.zip", "requirements.txt", "manifest.json"}
    assert set(packed.files) == expected


def test_the_plugins_are_on_the_top_level_with_the_data_they_read_and_without_tests(packed, tmp_path):
    (tmp_path / "plugins.zip").write_bytes(packed.files["plugins.zip"])
    with zipfile.ZipFile(tmp_path / "plugins.zip") as archive:
        names = archive.namelist()
        assert archive.testzip() is None
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.external_attr >> 16 for info in archive.infolist()} == {0o100644}
    assert names == sorted(sources_of("plugins"))
    assert {"musher/__init__.py", "musher/costs/prices.json", "musher/report/page.html.jinja", ".airflowignore"} <= set(
        names
    )
    parts = {part for name in names for part in Path(name).parts}
    assert not [part for part in parts if part in ("tests", "__pycache__") or part.startswith("test_")]


def test_the_manifest_describes_every_file(packed, sources):
    manifest = json.loads(packed.files["manifest.json"])
    assert set(manifest["files"]) == set(packed.files) - {"manifest.json"}
    assert {name: each["bytes"] for name, each in manifest["files"].items()} == {
        name: len(content) for name, content in packed.files.items() if name != "manifest.json"
    }
    head = subprocess.run(["git", "-C", str(sources), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert manifest["commit"] == head.stdout.strip()
    direct = (ROOT / f"{LINE}.in").read_text()
    assert f"apache-airflow=={manifest['airflow']}\n" in direct
    assert "apache-airflow-providers-amazon" in manifest["providers"]
    for name, version in manifest["providers"].items():
        assert f"{name}=={version} " in direct.replace("\n", " \n")


def test_the_requirements_name_airflows_constraints_and_nothing_that_the_image_carries(packed):
    lines = packed.files["requirements.txt"].decode().splitlines()
    version = packed.manifest["airflow"]
    assert lines[1].startswith('--constraint "https://')
    assert lines[1].endswith(f'/apache/airflow/constraints-{version}/constraints-3.12.txt"')
    named = {Requirement(line).name for line in lines[2:]}
    # The SSH provider is not in MWAA's image, and paramiko comes with it.
    assert {"apache-airflow-providers-ssh", "hdrhistogram", "matplotlib"} <= named
    carried = {"apache-airflow", "apache-airflow-providers-amazon", "boto3", "jinja2", "pydantic", "cryptography"}
    assert named & (carried | {"pip", "moto", "optuna", "pytest", "waitress"}) == set()
    assert all(str(Requirement(line).specifier).startswith("==") for line in lines[2:])


def test_every_package_that_the_plugins_import_is_carried_or_required(packed):
    # GIVEN every name from outside that the sources import
    code = {f"plugins/{name}": text for name, text in packed.plugins.items()}
    names = package.third_party(code)
    assert {name.split(".")[0] for name in names} >= {"airflow", "botocore", "hdrh", "matplotlib", "paramiko"}
    # WHEN the image carries Airflow and the Amazon provider, and pip adds the requirements with what they need
    there = package.closure(package.IMAGE) | package.closure(packed.requirements)
    # THEN each is there
    installed = package.distributions()
    absent = {name: path for name, path in names.items() if not package.packages_of(name, installed) & there}
    assert absent == {}


# ------------------------------------------------------------------------------------------------------- equal bytes


def test_packing_twice_gives_the_same_bytes(checkout, tmp_path):
    package.write(package.pack(checkout), tmp_path / "first")
    # Another time on every file, and another clone of the repository.
    for path in checkout.rglob("*.py"):
        os.utime(path, (0, 0))
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(checkout), str(clone)], check=True, capture_output=True)
    package.write(package.pack(clone), tmp_path / "second")
    assert files_in(tmp_path / "first") == files_in(tmp_path / "second")


@pytest.mark.parametrize(
    ("changed", "digests"),
    [
        ("plugins/musher/costs/prices.py", {"files: plugins.zip", "plugins: musher/costs/prices.py"}),
        ("dags/train_on_ec2.py", {"files: dags/train_on_ec2.py"}),
        ("ml_scripts/train.py", {"files: dags/ml_scripts/train.py"}),
        ("lambda/handler.py", {"files: dags/lambda/handler.py"}),
    ],
)
def test_a_changed_source_changes_exactly_its_digest(checkout, changed, digests):
    before = package.pack(checkout).manifest
    with (checkout / changed).open("a") as file:
        file.write("# changed\n")
    commit(checkout)
    after = package.pack(checkout).manifest
    differing = {
        f"{part}: {name}"
        for part in ("files", "plugins")
        for name in before[part].keys() | after[part].keys()
        if before[part].get(name) != after[part].get(name)
    }
    assert differing == digests
    assert {key for key in before if before[key] != after[key]} == {"commit", *(each.split(":")[0] for each in digests)}


def test_a_new_package_takes_the_place_of_the_old_one(checkout, tmp_path):
    package.write(package.pack(checkout), tmp_path / "mwaa")
    (checkout / "ml_scripts" / "features.py").unlink()
    commit(checkout)
    package.write(package.pack(checkout), tmp_path / "mwaa")
    assert not (tmp_path / "mwaa/dags/ml_scripts/features.py").exists()
    assert [path.name for path in tmp_path.glob(".package-*")] == []


# ------------------------------------------------------------------------------------------- what cannot be packed


def refused(root: Path) -> str:
    with pytest.raises(package.NotPackable) as error:
        package.pack(root)
    return str(error.value)


def test_what_is_not_committed_is_not_packed(checkout):
    (checkout / "dags" / "train_on_ec2.py").write_text("changed\n")
    (checkout / "plugins" / "musher" / "forgotten.py").write_text("new\n")
    message = refused(checkout)
    assert "dags/train_on_ec2.py, plugins/musher/forgotten.py: not as committed" in message


def test_an_ignored_file_is_left_out(checkout):
    before = package.pack(checkout).files
    (checkout / ".git" / "info" / "exclude").write_text("*.pyc\n")
    (checkout / "plugins" / "musher" / "__pycache__").mkdir()
    (checkout / "plugins" / "musher" / "__pycache__" / "costs.cpython-311.pyc").write_bytes(b"compiled")
    assert package.pack(checkout).files == before


@pytest.mark.parametrize("name", ["plugins/musher/costs/prices.json", "lambda/handler.py", "requirements/airflow.txt"])
def test_what_is_missing_is_named(checkout, name):
    (checkout / name).unlink()
    commit(checkout)
    assert refused(checkout) == f"{name} is missing: nothing was packed."


def test_no_dag_is_no_package(checkout):
    for path in (checkout / "dags").glob("*.py"):
        path.unlink()
    commit(checkout)
    assert "dags/*.py is missing" in refused(checkout)


def test_a_folder_without_git_is_named(checkout):
    shutil.rmtree(checkout / ".git")
    assert "is no git checkout" in refused(checkout)


def test_a_repository_without_a_commit_is_one_sentence(tmp_path):
    git(tmp_path, "init", "--quiet")
    assert refused(tmp_path).startswith("git does not answer")


def test_a_link_is_named(checkout):
    (checkout / "ml_scripts" / "linked.py").symlink_to("train.py")
    commit(checkout)
    assert refused(checkout).startswith("ml_scripts/linked.py is a link")


@pytest.mark.parametrize("line", ["import optuna", "def later():\n    from unheard_of.parts import piece"])
def test_an_import_that_would_fail_on_mwaa_is_named(checkout, line):
    # optuna is installed here, for the local AWS, but MWAA has nothing of it.
    (checkout / "plugins" / "musher" / "costs" / "prices.py").write_text(f"{line}\n")
    commit(checkout)
    message = refused(checkout)
    assert message.startswith(
        "plugins/musher/costs/prices.py imports " + ("optuna" if "optuna" in line else "unheard_of")
    )
    assert f"{LINE}.in" in message


def test_another_provider_is_noticed_although_all_of_airflow_is_one_name(checkout):
    with (checkout / "dags" / "train_on_ec2.py").open("a") as file:
        file.write("from airflow.providers.google.cloud.hooks.gcs import GCSHook\n")
    commit(checkout)
    assert "imports airflow.providers.google" in refused(checkout)


def test_a_dependency_that_is_not_pinned_is_named(checkout):
    pins = checkout / f"{LINE}.txt"
    pins.write_text("".join(line for line in pins.open() if not line.startswith(("pillow", "matplotlib=="))))
    commit(checkout)
    assert "does not pin matplotlib, pillow: run `make lock`" in refused(checkout)


def test_airflow_has_to_be_pinned(checkout):
    direct = checkout / f"{LINE}.in"
    direct.write_text(direct.read_text().replace("apache-airflow==", "apache-airflow>="))
    commit(checkout)
    assert "does not pin apache-airflow" in refused(checkout)


def test_a_folder_that_holds_something_else_is_left_alone(packed, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("mine")
    with pytest.raises(package.NotPackable, match="holds no package"):
        package.write(packed, tmp_path / "letters")
    assert (tmp_path / "letters" / "a.txt").read_text() == "mine"


def test_the_command_says_what_it_wrote(checkout, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(package, "ROOT", checkout)
    assert package.main([str(tmp_path / "mwaa")]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("dags/", "plugins.zip", "requirements.txt", "manifest.json", "less than 1 GB"))
    (checkout / "dags" / "train_on_ec2.py").unlink()
    assert package.main([str(tmp_path / "mwaa")]) == 1
    failed = capsys.readouterr()
    assert failed.out == ""
    assert failed.err.count("\n") == 1
    assert failed.err.startswith("package: dags/train_on_ec2.py")


# ----------------------------------------------------------------------------------------------------- it works there


@pytest.mark.slow
def test_every_dag_parses_from_the_package_alone(mwaa):
    # Nothing but the two folders on the path, as where MWAA has none of this checkout.
    found = parse(Path(sys.executable), mwaa, PYTHONPATH=f"{mwaa / 'plugins'}{os.pathsep}{mwaa / 'dags'}")
    assert_parsed(found, mwaa)


@pytest.mark.slow
def test_without_the_airflowignore_in_the_zip_each_module_would_be_loaded_a_second_time(mwaa, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(mwaa, bare)
    (bare / "plugins" / ".airflowignore").unlink()
    assert "costs" in parse(Path(sys.executable), bare)["taken_for_plugins"]


def constraints(packed: package.Package, folder: Path) -> tuple[Path, bool]:
    """The constraints that MWAA installs under, and whether they are Airflow's own.

    Airflow's own come from the file that MWAA_CONSTRAINTS names, or from their address. Where neither can be had, our
    pins stand in: then nothing is proved of the versions on MWAA, only that the requirements are complete and that
    the code runs on MWAA's Python.
    """
    told = os.environ.get("MWAA_CONSTRAINTS")
    if told:
        return Path(told), True
    file = folder / "constraints.txt"
    try:
        with urllib.request.urlopen(packed.manifest["constraints"], timeout=10) as answer:
            file.write_bytes(answer.read())
        return file, True
    except (urllib.error.URLError, OSError):
        warnings.warn("Airflow's constraints are out of reach: our own pins stand in for them", stacklevel=2)
        file.write_bytes((ROOT / f"{LINE}.txt").read_bytes())
        return file, False


def installed_in(python: Path) -> Mapping[str, str]:
    done = subprocess.run(
        [str(UV), "pip", "freeze", "--quiet", "--python", str(python)], capture_output=True, text=True, check=True
    )
    return dict(line.split("==") for line in done.stdout.splitlines())


def install(python: Path, *arguments: str) -> None:
    done = subprocess.run(
        [str(UV), "pip", "install", "--quiet", "--python", str(python), *arguments],
        capture_output=True, text=True, check=False, timeout=540,
    )  # fmt: skip
    if "Failed to fetch" in done.stderr:
        pytest.skip("no package index can be reached, and a new environment needs one")
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.timeout(900)
@pytest.mark.slow
def test_every_dag_parses_on_mwaas_python_with_what_the_requirements_bring(packed, mwaa, tmp_path):
    # GIVEN MWAA's Python with what its image carries
    base = environments.mwaas_python()
    if base == package.PYTHON or not UV.exists():
        pytest.skip(f"no Python {package.PYTHON} on this machine, or no uv: `make environments` brings uv")
    subprocess.run([str(UV), "venv", "--quiet", "--python", base, str(tmp_path / "env")], check=True)
    python = tmp_path / "env" / "bin" / "python"
    limits, airflows_own = constraints(packed, tmp_path)
    version = packed.manifest["airflow"]
    # Our pins know nothing of what the image's extras bring.
    image = package.IMAGE if airflows_own else [Requirement(each).name for each in package.IMAGE]
    install(python, "--constraint", str(limits), f"apache-airflow=={version}", *image)
    carried = installed_in(python)
    # WHEN the requirements are installed under the same constraints
    lines = packed.files["requirements.txt"].decode().splitlines()
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("\n".join([f"--constraint {limits}", *(line for line in lines if not line.startswith("--"))]))
    install(python, "--requirement", str(wanted))
    after = installed_in(python)
    # THEN nothing of the image was replaced, and every DAG parses and every module imports where MWAA puts them
    assert {name: after.get(name) for name in carried} == carried
    code = {f"plugins/{name}": text for name, text in packed.plugins.items()}
    modules = {name.split(".")[0] for name in package.third_party(code)}
    found = parse(python, mwaa, tuple(sorted(modules)))
    assert found["python"] == [int(part) for part in package.PYTHON.split(".")]
    assert_parsed(found, mwaa)
    if airflows_own:
        names = {canonicalize_name(line.split("==")[0]) for line in limits.read_text().splitlines() if "==" in line}
        # What was left to the constraints is in them, and what was added is pinned by one or by the other.
        assert names >= package.CONSTRAINED
        pinned = {Requirement(line).name for line in packed.requirements}
        assert set(map(canonicalize_name, after.keys() - carried.keys())) <= names | pinned
