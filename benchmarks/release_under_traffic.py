"""Releases of a good model and of bad ones through the real DAG, while callers ask the function.

    make demo && .venv/bin/python benchmarks/release_under_traffic.py [KIND ...] [--rps 10] [--rehearsal always]

Starts from a running stack with a deployment, and has the model that it found serve again at the end: what was released
is rolled back and deleted. One line for each kind: what callers lost, what they waited, how long it took to go back,
and what the second fleet cost at AWS's prices. Latency while instances start is given apart: on one machine a starting
instance takes the cores of those that serve.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]

from tools import bad_models  # noqa: E402
from tools.airflow_rest import Airflow  # noqa: E402
from tools.callers import Callers  # noqa: E402
from tools.stack import Stack  # noqa: E402

DAG, ROLL_BACK = "deploy_image_classifier", "roll_back_deployment"
ENDPOINT, FUNCTION, INSTANCE_TYPE = "musher-image-classifier", "musher-classifier", "ml.m5.large"
GOOD = "good"
# As short as a judge with so many answers can be served: an AWS minute lasts two seconds here.
PARAMS: dict[str, Any] = {
    "bake_seconds": 1500,
    "final_bake_seconds": 60,
    "judge_answers": 100,
    "judge_requests_per_second": 8,
    "slower_allowed": 0.3,
}
LOOK_SECONDS = 0.2
BEFORE_SECONDS = 20.0


@dataclass
class Watched:
    """The endpoint while a release goes on: when instances started, and what more of them there were."""

    stack: Stack
    endpoint: str
    starting: list[tuple[float, float]] = field(default_factory=list)  # unix seconds, from and to
    more_instance_seconds: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        sagemaker = self.stack.client("sagemaker")
        base = sum(each["CurrentInstanceCount"] for each in self._look(sagemaker)["ProductionVariants"])
        began = time.time()
        while not self.over.wait(LOOK_SECONDS):
            state, now = self._look(sagemaker), time.time()
            variants = [*state["ProductionVariants"]]
            variants += (state.get("PendingDeploymentSummary") or {}).get("ProductionVariants") or []
            running = sum(each.get("CurrentInstanceCount") or 0 for each in variants)
            wanted = sum(each.get("DesiredInstanceCount") or 0 for each in variants)
            if running < wanted:
                self.starting.append((began, now))
            self.more_instance_seconds += max(0, max(running, wanted) - base) * (now - began)
            began = now

    def _look(self, sagemaker: Any) -> Any:
        return sagemaker.describe_endpoint(EndpointName=self.endpoint)

    def starts_at(self, moment: float, slack: float = 0.5) -> bool:
        return any(start - slack <= moment <= end + slack for start, end in self.starting)


def p99(samples: list[Any]) -> str:
    from musher.load.histogram import percentiles_ms

    taken = [sample.done - sample.due for sample in samples if sample.outcome.status == "succeeded"]
    return f"{percentiles_ms(taken, 99)[0]:.0f} ms" if taken else "none"


def release(stack: Stack, airflow: Airflow, kind: str, served: Any, body: bytes, options: Any) -> str:
    """Register a model and release it while callers ask; returns the line that says what came of it."""
    from musher import record
    from musher.costs import prices
    from musher.load.pictures import labelled_pictures

    sagemaker, s3, name = stack.client("sagemaker"), stack.client("s3"), f"traffic-{time.strftime('%Y%m%d-%H%M%S')}"
    package = bad_models.register(sagemaker, s3, served, name, body)
    uri = (served.get("CustomerMetadataProperties") or {}).get("dataset_uri")
    pictures = [each.data for each in labelled_pictures(s3, None, uri, most=50)]  # type: ignore[arg-type]
    before = sagemaker.describe_endpoint(EndpointName=ENDPOINT)["EndpointConfigName"]
    watched = Watched(stack, ENDPOINT)
    watcher = threading.Thread(target=watched.watch)
    with Callers(stack, FUNCTION, pictures, options.rps) as callers:
        time.sleep(BEFORE_SECONDS)
        watcher.start()
        began = time.time()
        params = {**PARAMS, "model_package_arn": package, "rehearsal": options.rehearsal}
        run = airflow.trigger(DAG, params, name)
        ended = airflow.wait(DAG, run, 3600)
        took = time.time() - began
    watched.over.set()
    watcher.join()
    bad_models.reject(sagemaker, package, "It was registered to be tried out, and is nobody's model.")
    quiet = [each for each in callers.samples if callers.at(each) < began]
    during = [each for each in callers.samples if callers.at(each) >= began]
    starting = [each for each in during if watched.starts_at(callers.at(each))]
    apart = {id(each) for each in starting}
    count = Counter(each.outcome.status for each in during)
    aws_seconds = watched.more_instance_seconds * 60 / float(stack.local_aws.facts()["minute"].removesuffix("s"))
    stays = sagemaker.describe_endpoint(EndpointName=ENDPOINT)["EndpointConfigName"] == before
    if not stays:
        clean_up(stack, airflow, before)
    part = record.read(s3, bucket(stack), name, record.Release)
    back = f", back {part.seconds_to_roll_back:.1f} s after the decision" if part and part.seconds_to_roll_back else ""
    return (
        f"{kind}: the run is {ended['state']}, {'the model before serves' if stays else 'the new model serves'}{back} "
        f"({took:.0f} s in all). Of {len(during)} calls {count['failed']} failed, {count['throttled']} throttled, "
        f"{sum(map(callers.is_wrong, during))} answered otherwise. p99 {p99(quiet)} before, "
        f"{p99([each for each in during if id(each) not in apart])} during, {p99(starting)} in the "
        f"{len(starting) / options.rps:.0f} s in which instances started. {aws_seconds:.0f} more instance seconds at "
        f"AWS's pace, ${prices.endpoint_cost(INSTANCE_TYPE, aws_seconds / 3600):.3f}."
        f"\n    {why(airflow, run, part)}"
    )


def clean_up(stack: Stack, airflow: Airflow, before: str) -> None:
    """Roll back to the configuration before, and delete the one that was released with its model: it was tried out, and
    no roll-back is to bring it into service again."""
    from musher.hooks.served_before import ServedBefore

    sagemaker = stack.client("sagemaker")
    released = sagemaker.describe_endpoint(EndpointName=ENDPOINT)["EndpointConfigName"]
    run = airflow.trigger(ROLL_BACK, {}, f"after-{released}")
    ended = airflow.wait(ROLL_BACK, run, 3600)
    now = sagemaker.describe_endpoint(EndpointName=ENDPOINT)
    if now["EndpointConfigName"] != before:
        raise SystemExit(f"{released} still serves: {ROLL_BACK} is {ended['state']} (run {run}).")
    config = sagemaker.describe_endpoint_config(EndpointConfigName=released)
    sagemaker.delete_endpoint_config(EndpointConfigName=released)
    for variant in config["ProductionVariants"]:
        sagemaker.delete_model(ModelName=variant["ModelName"])
    ServedBefore().keep(sagemaker, now["EndpointArn"])


def why(airflow: Airflow, run: str, part: Any) -> str:
    failed = [task for task in airflow.task_instances(DAG, run) if task["state"] == "failed"]
    said = [f"{task['task_id']}: {airflow.error_of(DAG, run, task)}" for task in failed]
    return "; ".join(said) or (part.why if part else "")


def bucket(stack: Stack) -> str:
    return f"musher-{stack.client('sts').get_caller_identity()['Account']}"


def serving(stack: Stack) -> dict[str, Any]:
    """The registered model that serves, as DescribeModelPackage describes it."""
    sagemaker = stack.client("sagemaker")
    now = sagemaker.describe_endpoint(EndpointName=ENDPOINT)
    config = sagemaker.describe_endpoint_config(EndpointConfigName=now["EndpointConfigName"])
    model = sagemaker.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    return sagemaker.describe_model_package(ModelPackageName=model["PrimaryContainer"]["ModelPackageName"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"{GOOD}, or one of: {', '.join(bad_models.KINDS)}")
    parser.add_argument("--rps", type=float, default=10)
    parser.add_argument("--rehearsal", choices=["always", "never"], default="never")
    options = parser.parse_args()
    stack = Stack.from_environment()
    if not (stack.local_aws.process() and stack.airflow.process()):
        print("Left out: there is no running stack with a deployment; `make demo` makes one.")
        return 0
    airflow, served = Airflow(stack.airflow_url), serving(stack)
    good = bad_models.archive_of(stack.client("s3"), served)
    print(f"{options.rps:g} calls a second, load average {os.getloadavg()[0]:.1f}", flush=True)
    for kind in options.kinds or (GOOD, *bad_models.KINDS):
        body = good if kind == GOOD else bad_models.archive(good, kind)
        print(release(stack, airflow, kind, served, body, options), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
