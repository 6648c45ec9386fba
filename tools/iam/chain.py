"""Every DAG of the project once, in a stack of its own that enforces IAM, so that what its roles call is recorded.

    python -m tools.iam.chain FOLDER

FOLDER is for everything that the stack leaves. What was called is in FOLDER/calls.json, also after a run that failed;
`python -m tools.iam.record --calls FOLDER/calls.json` takes it into the recording.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local_aws.control import tell
from tools import bad_models, bootstrap, infrastructure
from tools.airflow_rest import Airflow
from tools.demo_interruption import Interruption
from tools.demo_releases import PARAMS as RELEASE
from tools.sample_dataset import draw
from tools.stack import ROOT, Stack

TRAIN, DEPLOY, ON_EC2 = "train_image_classifier", "deploy_image_classifier", "train_on_ec2"
COMPARE, ROLL_BACK, REMOVE = "compare_models", "roll_back_deployment", "remove_deployment"
SMALL = {"max_jobs": 2, "tuning_epochs": 2, "epochs": 4, "dataset_name": "sample", "paths": "both",
         "on_issue": {"Overfit": "notify"}}  # which has the log read while a job runs  # fmt: skip
# Two instances that share a machine are slower or faster than each other by chance, and a machine that is busy with
# something else answers late. An AWS minute lasts half as long as in the demo.
LENIENT = {"latency_limit_ms": 60_000, "max_error_rate": 0.2}
EASY = {
    **RELEASE,
    **LENIENT,
    "bake_seconds": 3 * RELEASE["bake_seconds"],
    "slower_in_rehearsal_allowed": 10.0,
    "less_accurate_allowed": 1.0,
}
ELSEWHERE = "pictures-of-others"
"""The bucket that DatasetBucket of the template names."""
SECONDS = 1800


class Chain:
    """The runs, one after the other; `failed` names those that did not end well."""

    def __init__(self, stack: Stack, pictures: Path, say: Callable[[str], None]) -> None:
        self.stack, self.pictures, self.say = stack, pictures, say
        self.airflow = Airflow(stack.airflow_url)
        self.failed: list[str] = []

    def run(self) -> None:
        """All of it. A run that fails does not keep the others from being tried."""
        self._prepare()
        known = {each["dag_run_id"] for each in self.airflow.runs(DEPLOY)}
        self._finish(TRAIN, {"dataset": str(self.pictures), **SMALL})
        while not (
            new := [each["dag_run_id"] for each in self.airflow.runs(DEPLOY) if each["dag_run_id"] not in known]
        ):
            time.sleep(1)
        self._wait(DEPLOY, new[0])
        package = self.airflow.xcom(DEPLOY, new[0], "choose_model")
        self.say(f"deployed: {package}")
        self._register_another(package["package_arn"])
        again = {**EASY, "rehearsal": "always", "approval": "before_release", "capture_percent": 20,
                 "function_url": "signed"}  # fmt: skip
        self._finish(DEPLOY, again, watch=lambda run: self._answer(run, "Approve"))
        self._finish(DEPLOY, again, watch=lambda run: self._answer(run, "Reject"))
        self._finish(ROLL_BACK)
        self._finish(COMPARE, {"rounds": 4, "step_seconds": 1, "pictures": 30})
        self._on_ec2()
        self._end_early("tune", tuning_epochs=200)
        self._end_early("train_on_one_instance", max_jobs=1, max_parallel_jobs=1, tuning_epochs=1, epochs=500)
        for dag_id in ("audit_security", "report_running_costs"):
            self._finish(dag_id)
        self._finish("report_running_costs", {"unused_days": 1, "remove_unused": True})
        self._finish(REMOVE)

    def _register_another(self, arn: str) -> None:
        """The same archive as another model: to be released, to be gone back from, and to be compared with."""
        sagemaker, s3 = self.stack.client("sagemaker"), self.stack.client("s3")
        like = sagemaker.describe_model_package(ModelPackageName=arn)
        bad_models.register(sagemaker, s3, like, "as-good", bad_models.archive_of(s3, like))

    def _prepare(self) -> None:
        """The pictures in a bucket of somebody else's as well, which the template may name."""
        s3 = self.stack.client("s3")
        s3.create_bucket(Bucket=ELSEWHERE)
        for each in self.pictures.rglob("*.jpg"):
            s3.put_object(Bucket=ELSEWHERE, Key=f"dogs/{each.relative_to(self.pictures)}", Body=each.read_bytes())
        # The audit looks at the keys of users.
        iam = self.stack.client("iam")
        iam.create_user(UserName="somebody")
        iam.create_access_key(UserName="somebody")
        parameters = {"ProjectName": bootstrap.PROJECT, "SshCidr": "127.0.0.1/32", "DatasetBucket": ELSEWHERE}
        values = json.loads(self.airflow.rest("GET", "variables/musher")["value"])
        infrastructure.deploy(self.stack.client, {**parameters, "SshPort": values["ssh_port"]})
        # The deployment that the training starts is to pass on a busy machine, too.
        told = {"key": "musher", "value": json.dumps({**values, "deployment": LENIENT})}
        self.airflow.rest("PATCH", "variables/musher", told)
        for dag_id in (TRAIN, DEPLOY, ON_EC2, COMPARE, ROLL_BACK, REMOVE, "audit_security", "report_running_costs"):
            self.airflow.wait_for_dag(dag_id)
            self.airflow.unpause(dag_id)

    def _finish(
        self, dag_id: str, conf: dict[str, Any] | None = None, watch: Callable[[str], None] | None = None
    ) -> str:
        run = self.airflow.trigger(dag_id, conf)
        self._wait(dag_id, run, watch)
        return run

    def _wait(self, dag_id: str, run: str, watch: Callable[[str], None] | None = None) -> None:
        began = time.monotonic()
        ended = self.airflow.wait(dag_id, run, SECONDS, None if watch is None else lambda tasks: watch(run))
        self.say(f"{dag_id} {run}: {ended['state']} after {time.monotonic() - began:.0f} s")
        if ended["state"] != "success":
            failed = [each for each in self.airflow.task_instances(dag_id, run) if each["state"] == "failed"]
            why = "; ".join(f"{each['task_id']}: {self.airflow.error_of(dag_id, run, each)}" for each in failed)
            self.say(f"  {why}")
            self.failed.append(f"{dag_id} {run}")

    def _answer(self, run: str, option: str) -> None:
        """A person's answer, where the run waits for one."""
        for task in self.airflow.task_instances(DEPLOY, run):
            if task["state"] == "awaiting_input":
                detail = f"dags/{DEPLOY}/dagRuns/{run}/taskInstances/{task['task_id']}/{task['map_index']}/hitlDetails"
                asked = self.airflow.rest("GET", detail)
                if not asked.get("response_received"):
                    answer = {"chosen_options": [option], "params_input": dict.fromkeys(asked["params"], "")}
                    self.airflow.rest("PATCH", detail, answer)

    def _on_ec2(self) -> None:
        """A training on Spot that is interrupted once."""
        run = self.airflow.trigger(ON_EC2)
        bucket = json.loads(self.airflow.rest("GET", "variables/musher")["value"])["bucket"]
        interruption = Interruption(self.stack, bucket, run, self.say)
        self._wait(ON_EC2, run, lambda run: interruption(self.airflow.task_instances(ON_EC2, run)))

    def _end_early(self, task: str, **params: int) -> None:
        """A training on pictures of others that a person ends in a task, so that its job has to be stopped.

        Parameters: `params` are those that keep the task's job busy.
        """
        s3 = self.stack.client("s3")
        listed = s3.list_objects_v2(Bucket=ELSEWHERE, Prefix="dogs/train/")["Contents"]
        s3.delete_object(Bucket=ELSEWHERE, Key=listed[0]["Key"])  # for delete_removed
        conf = {**SMALL, "dataset": f"s3://{ELSEWHERE}/dogs/", "dataset_name": "others", "delete_removed": True}
        conf |= params
        run, marked = self.airflow.trigger(TRAIN, conf), set()

        def end(run: str) -> None:
            for each in self.airflow.task_instances(TRAIN, run):
                if each["task_id"] == task and each["state"] == "deferred" and not marked:
                    self._finish("report_running_costs")  # which looks at jobs that run
                    path = f"dags/{TRAIN}/dagRuns/{run}/taskInstances/{task}"
                    self.airflow.rest("PATCH", path, {"new_state": "failed"})
                    marked.add(run)

        self._wait(TRAIN, run, end)
        self.failed = [each for each in self.failed if each != f"{TRAIN} {run}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="which may not be there yet")
    folder = parser.parse_args().folder.absolute()
    pictures = folder / "pictures"
    if not pictures.exists():
        draw(pictures)
    stack = Stack(
        minute="1s", home=folder / "airflow", state=folder / "local_aws", logs=folder / "logs", dags=ROOT / "dags"
    )
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {line}", flush=True)

    stack.up(say)
    try:
        chain = Chain(stack, pictures, say)
        try:
            chain.run()
        finally:
            (folder / "calls.json").write_text(tell(stack.local_aws_port, "iam-calls", {}))
            (folder / "denials.txt").write_text(tell(stack.local_aws_port, "iam-denials", {}))
    finally:
        stack.down(say)
    for each in chain.failed:
        print(f"Did not end well: {each}.", file=sys.stderr)
    return 1 if chain.failed else 0


if __name__ == "__main__":
    sys.exit(main())
