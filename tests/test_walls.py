"""Who may import whom: the rooms know nothing of each other and meet at AWS's APIs."""

from __future__ import annotations

import ast
import functools
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = {
    "dags": {"musher"},
    "plugins/musher": {"musher"},
    "ml_scripts": set(),
    "lambda": set(),
    "local_aws": {"local_aws"},
}
# What stands where AWS's container stands: torchrun.py runs in it and not in the daemon; on EC2 there is no container,
# and run_on_ec2.py does what SageMaker's does around the script.
CONTAINER = {"local_aws/training/torchrun.py": {"torch"}, "ml_scripts/run_on_ec2.py": {"boto3"}}
# What would give away that a room reaches into another one.
FOREIGN = {"musher", "local_aws", "ml_scripts", "dags", "tools", "tests", "benchmarks"}
NOT_IN = {
    "ml_scripts": {"airflow", "boto3", "botocore", "moto", "sagemaker"},
    "lambda": {"airflow", "torch", "PIL", "numpy", "requests"},
    "local_aws": {"airflow", "torch"},
    "plugins/musher": {"torch", "sagemaker", "moto"},
    "dags": {"torch", "sagemaker", "moto", "boto3", "botocore"},
}


@functools.cache
def imports(path: Path) -> list[ast.Import | ast.ImportFrom]:
    """Every import of a file, wherever it stands."""
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]


def imported(path: Path) -> set[str]:
    """The top-level names of every module that a file imports."""
    names: set[str] = set()
    for node in imports(path):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_no_other_room(room):
    found = {str(path.relative_to(ROOT)): imported(path) & (FOREIGN - ROOMS[room]) for path in files(room)}
    assert {path: names for path, names in found.items() if names} == {}
    assert found, f"{room} has no files: the test would say nothing"


@pytest.mark.parametrize("room", NOT_IN)
def test_a_room_does_not_import_what_it_must_not_need(room):
    found = {str(path.relative_to(ROOT)): imported(path) & NOT_IN[room] for path in files(room)}
    found = {path: names - CONTAINER.get(path, set()) for path, names in found.items()}
    assert {path: names for path, names in found.items() if names} == {}


def module(path: Path, room: str) -> str:
    """The name a file is imported by, from the folder that holds its room."""
    parts = path.relative_to((ROOT / room).parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_modules_import_each_other_in_a_circle():
    paths = {module(path, room): path for room in ("plugins/musher", "local_aws") for path in files(room)}
    graph: dict[str, set[str]] = {}
    for name, path in paths.items():
        found = [node for node in imports(path) if isinstance(node, ast.ImportFrom)]
        # Wherever it stands, for types only or within a function, it is the same knowledge of one another.
        names = {f"{node.module}.{alias.name}" for node in found for alias in node.names}
        names = {each if each in paths else each.rpartition(".")[0] for each in names}
        graph[name] = (names & paths.keys()) - {name}
    assert sum(map(len, graph.values())) > 100, "too few imports were found for the test to say anything"
    tuple(TopologicalSorter(graph).static_order())  # graphlib.CycleError names the circle


def test_no_file_is_too_long_to_read_in_one_sitting():
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for room in ROOMS for path in files(room)
    }
    assert {path: lines for path, lines in lengths.items() if lines > 600} == {}
