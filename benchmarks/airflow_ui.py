"""What the page "Musher" costs Airflow's API server: the seconds of CPU of a request, and of reading its history.

With 1,000 runs in the history of each of two DAGs, as S3 hands them out and as the page shows them.
"""

from __future__ import annotations

import datetime as dt
import json
import random
import statistics
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "plugins"))

from musher import record
from musher.page import answers, live, overview, past, serving
from musher.page.captured import MOST_CALLS, Call, Captured
from musher.page.dags import DEPLOY, TRAIN
from musher.page.reader import Seen
from musher.record import History, PastRun

RUNS = 1_000
TIMES = 20


def main() -> None:
    now = dt.datetime.now(dt.UTC)
    bodies = {dag: json.dumps(history(dag, now).to_json()) for dag in (TRAIN, DEPLOY)}
    size = sum(map(len, bodies.values())) / 1e6
    read = {dag: History.from_json(json.loads(body)) for dag, body in bodies.items()}
    seconds = median(lambda: [History.from_json(json.loads(body)) for body in bodies.values()])
    print(
        f"reading {len(bodies)} histories of {RUNS} runs, {size:.1f} MB, no request's: {seconds * 1000:.0f} ms of CPU"
    )
    seen = {("history", dag): Seen(past.Known(each), now) for dag, each in read.items()}
    calls, judged = captured_calls(now), predictions()
    seconds = median(lambda: live.compare(calls, judged))
    print(f"holding {len(calls)} calls beside {len(judged.pictures)} predictions: {seconds * 1000:.0f} ms of CPU")
    compared = live.compare(calls, judged)
    panel = live.Live(True, 20, "", Captured(tuple(calls)), judged, "", compared, tuple(live.foreign(calls, judged)))
    seen |= {"serving": Seen(None, now), "traffic": Seen(serving.Traffic(), now), "live": Seen(panel, now)}
    rights = overview.Rights(histories=(TRAIN, DEPLOY), costs=False, roll_back=True, deploy=True)
    request = types.SimpleNamespace(scope={"root_path": "/musher"}, headers={})

    def page() -> bytes:
        return answers.page(request, "overview.html.jinja", **overview.shown(seen, rights)).body

    length = len(page()) / 1e3
    print(f"the page of these ({length:.0f} kB): {median(page) * 1000:.0f} ms of CPU")


def captured_calls(now: dt.datetime) -> list[Call]:
    """As many as are read, each with a picture of its own."""
    chance = random.Random(0)
    return [
        Call(now, str(number), number, f"{number % 133:03}.Breed", chance.random(), "weights", "key", number)
        for number in range(MOST_CALLS)
    ]


def predictions() -> record.Predictions:
    """Those of a data set of 133 breeds with 836 test pictures."""
    chance = random.Random(1)
    classes = [f"{number:03}.Breed" for number in range(133)]
    pictures = [(f"{number}.jpg", 10**6 + number, number % 133, number % 133, chance.random()) for number in range(836)]
    return record.Predictions(weights="weights", classes=classes, pictures=pictures)


def history(dag: str, now: dt.datetime) -> History:
    return History(
        runs=[
            PastRun(
                dag=dag,
                run_id=f"scheduled__{now - dt.timedelta(hours=number):%Y-%m-%dT%H:%M:%S+00:00}",
                run=f"scheduled-{number}-00000000",
                at=(now - dt.timedelta(hours=number)).isoformat(timespec="seconds"),
                seconds=600.0 + number % 50,
                state="passed",
                headline="Passed",
                because="all 10 checks hold",
                told={"epochs": 5, "paths": "both"},
                dataset_version="0123456789abcdef",
                images={"train": 300, "valid": 50, "test": 50},
                hyperparameters={"lr": "0.01", "batch-size": "32"},
                accuracy=0.9 + number % 10 / 100,
                test_images=50,
                cost_usd=1.0 + number % 7 / 10,
                instance_type="ml.m5.large",
                capacity_rps=20.0,
                p99_ms=80.0,
            )
            for number in range(RUNS)
        ]
    )


def median(work: Callable[[], object]) -> float:
    """Seconds of CPU."""
    taken = []
    for _ in range(TIMES):
        began = time.process_time()
        work()
        taken.append(time.process_time() - began)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
