"""What the page costs Airflow where nobody looks at it: an API server up to its first answer, and the parsing of all
DAGs, each with its plugin and without, in seconds of CPU.

Pairs of processes, the order of the two changing from pair to pair. They are forked from one that has imported all that
either imports but the plugin: what is the same in both would only add to how much they differ by chance, and of whole
starts, 7 s of CPU each, that is more than a second. Printed is the median of the paired differences, with the interval
that has it with at least 95 % whatever their distribution is (order statistics, by the binomial distribution).
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from math import comb
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAIRS = 15
PLUGIN = "musher_page.py"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home, without = Path(folder), Path(folder, "plugins")
        without.mkdir()
        # the same folder, less the one file that Airflow imports
        for each in (ROOT / "plugins").iterdir():
            if each.name not in (PLUGIN, "__pycache__"):
                (without / each.name).symlink_to(each)
        os.environ |= {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(without),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "AIRFLOW__API_AUTH__JWT_SECRET": "a secret of this measurement alone, of 64 bytes or more, as HS512 has it",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        }
        sys.path.insert(0, str(ROOT / "plugins"))
        folders = {"with": ROOT / "plugins", "without": without}
        forked(tables, without)
        for name, work in (("an API server up to its first answer", api_server), ("parsing all DAGs", parse)):
            for module in forked(work, without)["modules"]:
                importlib.import_module(module)
            assert PLUGIN.removesuffix(".py") not in sys.modules
            compare(name, work, folders)


def tables() -> None:
    from airflow import settings
    from airflow.models import import_all_models
    from airflow.models.base import Base

    import_all_models()
    Base.metadata.create_all(settings.engine)


def api_server() -> None:
    import httpx
    from airflow.api_fastapi.app import create_app

    async def answer() -> None:
        app = create_app()
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://airflow") as client,
        ):
            answer = await client.get("/api/v2/version")
            assert answer.status_code == 200, answer.text

    asyncio.run(answer())


def parse() -> None:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    found = DagBag(str(ROOT / "dags"))
    assert found.dags, found.import_errors
    assert not found.import_errors, found.import_errors
    for dag in found.dags.values():
        DagSerialization.to_dict(dag)


def forked(work: Callable[[], None], plugins: Path) -> dict[str, Any]:
    """What a process of its own takes for it: `seconds` of CPU, and the `modules` that it has in the end."""
    reading, writing = os.pipe()
    if not (child := os.fork()):
        status = 1
        try:
            os.close(reading)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Airflow says its passwords there
            began = time.process_time()
            if work is not tables:
                from airflow import settings

                settings.PLUGINS_FOLDER = str(plugins)
                loaded(plugins)
            work()
            seconds = time.process_time() - began
            with open(writing, "w") as told:
                names = [
                    name for name in sys.modules if name.startswith(("airflow.", "fastapi", "starlette", "botocore"))
                ]
                json.dump({"seconds": seconds, "modules": names}, told)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading) as told:
        text = told.read()
    if os.waitpid(child, 0)[1]:
        raise SystemExit(f"{work.__name__} failed")
    return json.loads(text)


def loaded(plugins: Path) -> None:
    """Has Airflow load its plugins, and looks whether that was so."""
    from airflow import plugins_manager

    plugins_manager.ensure_plugins_loaded()
    assert (PLUGIN.removesuffix(".py") in sys.modules) == (plugins / PLUGIN).exists()


def compare(name: str, work: Callable[[], None], folders: dict[str, Path]) -> None:
    gc.collect()
    gc.freeze()
    found: dict[str, list[float]] = {each: [] for each in folders}
    loads = []
    for number in range(PAIRS):
        loads.append(os.getloadavg()[0])
        for each in sorted(folders, reverse=bool(number % 2)):
            found[each].append(forked(work, folders[each])["seconds"])
    differences = sorted(a - b for a, b in zip(found["with"], found["without"], strict=True))
    low, high = interval(differences)
    print(
        f"{name}: {statistics.median(found['without']):.2f} s of CPU beyond the imports without the plugin; with it "
        f"{1000 * statistics.median(differences):+.0f} ms (95 % interval {1000 * low:+.0f} to {1000 * high:+.0f} ms, "
        f"{PAIRS} pairs, load of the machine {min(loads):.0f} to {max(loads):.0f})",
        flush=True,
    )


def interval(ordered: list[float]) -> tuple[float, float]:
    """The narrowest interval of two of the values, as far from either end, that has the median with 95 % or more."""
    n, outside, beside = len(ordered), 0, 0.0
    while 2 * (beside + comb(n, outside) / 2**n) <= 0.05:
        beside += comb(n, outside) / 2**n
        outside += 1
    return ordered[outside - 1], ordered[n - outside]


if __name__ == "__main__":
    main()
