"""How `make test` spreads tests over processes, and which ports these get."""

from __future__ import annotations

import types
from pathlib import Path

import pytest

from tests import conftest, ports

ROOT = Path(__file__).parents[1]

COLLECTED = [
    "tests/chain/test_long.py::test_1",
    "tests/chain/test_long.py::test_2",
    "tests/test_second.py::test_3[a::b]",
    "tests/test_short.py::test_4",
    "tests/test_shorter.py::test_5",
]


class Node:
    """One of xdist's processes."""

    def __init__(self, name: str) -> None:
        self.gateway = types.SimpleNamespace(id=name)
        self.shutting_down = False
        self.given: list[str] = []

    def send_runtest_some(self, indices) -> None:
        self.given += [COLLECTED[index] for index in indices]

    def shutdown(self) -> None:
        self.shutting_down = True


def test_long_files_start_first_and_short_ones_wait_behind_them():
    pytest.importorskip("xdist")
    from tests.spreading import LongOnesFirst

    options = types.SimpleNamespace(loadscopereorder=True)
    config = types.SimpleNamespace(option=options, getvalue=lambda name: ["popen", "popen"])
    scheduler = LongOnesFirst(config)
    nodes = [Node("one"), Node("other")]
    for node in nodes:
        scheduler.add_node(node)
    for node in nodes:
        scheduler.add_node_collection(node, COLLECTED)
    scheduler.schedule()
    assert [node.given for node in nodes] == [[*COLLECTED[:2], COLLECTED[4]], [COLLECTED[2], COLLECTED[3]]]


def test_the_files_that_take_long_are_there():
    assert [file for file in conftest.LONGEST if not (ROOT / file).exists()] == []


def test_files_that_share_what_takes_long_stay_together():
    pytest.importorskip("xdist")
    from tests import spreading

    split = spreading.LongOnesFirst._split_scope
    for file, other in spreading.TOGETHER.items():
        assert (ROOT / file).exists()
        assert split(None, f"{file}::test_1") == split(None, f"{other}::test_2[a::b]") == other
    assert split(None, "tests/chain/test_chain.py::test_1") == "tests/chain/test_chain.py"


def test_no_port_is_given_twice(monkeypatch):
    monkeypatch.setattr(ports, "PORTS", range(ports.PORTS.start - 3, ports.PORTS.start))
    given = [ports.free_port() for _ in range(3)]
    assert len(set(given)) == 3
    with pytest.raises(OSError, match="no port from"):
        ports.free_port()
