"""A run of train_image_classifier whose learning rate is a thousand times too high, and that heals itself.

    make up && .venv/bin/python benchmarks/diagnostics_heals.py

Starts it on a running stack by Airflow's REST API, as the trigger form does, on a data set that is drawn. One line for
each attempt: what was changed and why, what it took and saved, and the accuracy on the validation pictures. Fails where
the last attempt is more than two points below a run with rates that are fine.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]

from tools.airflow_rest import Airflow  # noqa: E402
from tools.sample_dataset import draw  # noqa: E402
from tools.stack import Stack  # noqa: E402

DAG = "train_image_classifier"
TRIALS = {"max_jobs": 1, "max_parallel_jobs": 1, "tuning_epochs": 2, "epochs": 6}
BROKEN = {"learning_rate_min": 0.8, "learning_rate_max": 1.0}
FINE = {"learning_rate_min": 0.0008, "learning_rate_max": 0.001}
ON_ISSUE = dict.fromkeys(("AllZero", "LossNotDecreasing", "PoorWeightInitialization", "WeightUpdateRatio"), "retry")
WITHIN = 0.02


def train(stack: Stack, airflow: Airflow, name: str, conf: dict[str, Any]) -> float:
    """Let a run train; its accuracy on the validation pictures."""
    from musher import record
    from musher.diagnostics import remedies
    from musher.names import Run

    airflow.unpause(DAG)
    run = airflow.trigger(DAG, {**TRIALS, **conf, "on_issue": ON_ISSUE}, name)
    state = airflow.wait(DAG, run, 3600)["state"]
    bucket = f"musher-{stack.client('sts').get_caller_identity()['Account']}"
    part = record.read(stack.client("s3"), bucket, Run(DAG, run).key, record.Diagnostics)
    jobs = [each for each in (part.jobs if part else []) if each.step == "train-one"]
    for job in jobs:
        why = f"{remedies.words(job.remedy)}, since {job.remedy.rule}" if job.remedy else "as it was told"
        saved = f", saved {job.saved.seconds:.3g} s ({job.saved.basis})" if job.saved and job.saved.seconds else ""
        ended = f", ended by {job.fired}" if job.fired else ""
        print(
            f"{job.job}: {why}: {job.status}{ended}, {job.billable_seconds:.3g} s, ${job.cost_usd:.2g}{saved}, "
            f"validation accuracy {job.valid_accuracy}",
            flush=True,
        )
    print(f"{run}: {state}", flush=True)
    return jobs[-1].valid_accuracy or 0.0 if jobs and state == "success" else 0.0


def main() -> int:
    stack = Stack.from_environment()
    if not (stack.local_aws.process() and stack.airflow.process()):
        print("Left out: there is no running stack; `make up` makes one.")
        return 0
    airflow, stamp = Airflow(stack.airflow_url), time.strftime("%Y%m%d-%H%M%S")
    with tempfile.TemporaryDirectory() as temporary:
        draw(Path(temporary), breeds=6, train=40, valid=8, test=8)
        data = {"dataset": temporary, "dataset_name": "heals"}
        healthy = train(stack, airflow, f"healthy-{stamp}", {**data, **FINE})
        healed = train(stack, airflow, f"heals-{stamp}", {**data, **BROKEN})
    return 0 if healed >= healthy - WITHIN else 1


if __name__ == "__main__":
    sys.exit(main())
