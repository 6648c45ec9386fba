"""What becomes of jobs that have too little memory, a slow disk or a slow instance: real jobs of the local AWS.

    .venv/bin/python benchmarks/diagnostics_jobs.py [--only NAME]

Starts a local AWS and runs train_image_classifier's own tasks on it, without Airflow around them: TrainOperator, which
tells, stops and retries, and EvaluateCandidatesOperator, which records the profile. The jobs run ml_scripts as they
are; what is broken is around train.py's main. One line a job: what ended it, what was changed for the next one, its
seconds. One line a profile: its verdict. Fails where something else happened than should have.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "plugins")]

from airflow.sdk.exceptions import AirflowFailException  # noqa: E402
from musher import record  # noqa: E402
from musher.config import Environment  # noqa: E402
from musher.diagnostics import remedies  # noqa: E402
from musher.operators.acceptance import EvaluateCandidatesOperator  # noqa: E402
from musher.operators.training_jobs import TrainOperator  # noqa: E402
from musher.staging.code import stage_code  # noqa: E402
from musher.staging.pretrained import stage_pretrained  # noqa: E402

from tests.local_aws.daemon import start_daemon  # noqa: E402
from tests.plugins.operators.conftest import Project  # noqa: E402
from tools import bootstrap  # noqa: E402
from tools.sample_dataset import draw  # noqa: E402

# Beyond what a process has once it has imported everything: enough for a quarter of a batch of 32 pictures.
MEGABYTES = 900
SLOW_SECONDS, STUCK_SECONDS, STALLED_SECONDS = 0.3, 60.0, 8.0
STOPPED, GOES_ON = 0.6, 0.2

MEMORY = f"""
import resource
with open("/proc/self/status") as status:
    used = int(next(line for line in status if line.startswith("VmData")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + {MEGABYTES} * 2**20, resource.RLIM_INFINITY))
"""
# A file that takes longer to come than others do; of a disk that is stuck, one of them all.
DISK = """
import time
from profiling import clock
files, read = [], clock._TimedFile.readinto
def readinto(file, buffer):
    with file._clock.reading():
        if not file.tell():
            files.append(file)
            time.sleep({seconds})
        return read(file, buffer)
clock._TimedFile.readinto = readinto
"""
# The second instance runs a quarter of the time.
INSTANCE = f"""
import json, os, subprocess, sys
SLOW = '''
import os, signal, sys, time
process = int(sys.argv[1])
while os.getppid() == process:
    os.kill(process, signal.SIGSTOP)
    time.sleep({STOPPED})
    os.kill(process, signal.SIGCONT)
    time.sleep({GOES_ON})
'''
if os.environ["SM_CURRENT_HOST"] == json.loads(os.environ["SM_HOSTS"])[1]:
    subprocess.Popen([sys.executable, "-c", SLOW, str(os.getpid())])
"""
TRAIN = """
import errors
import whole
{broken}
errors.run(whole.main)
"""


@dataclass
class Case:
    """A broken job; `right` looks at what the run's record has of it, and at why the task failed, if it did."""

    broken: str
    right: Callable[[list[record.DiagnosedJob], record.JobProfile | None, str], bool]
    params: dict[str, Any] = field(default_factory=dict)


def healed(jobs: list[record.DiagnosedJob], profile: record.JobProfile | None, why: str) -> bool:
    return [each.fired for each in jobs] == ["OutOfMemory"] * (len(jobs) - 1) + [None] and len(jobs) > 1 and not why


def stalled(jobs: list[record.DiagnosedJob], profile: record.JobProfile | None, why: str) -> bool:
    return why.startswith("DiagnosticRule StalledTrainingRule: ") and [each.status for each in jobs] == ["Failed"]


def verdict_of(rule: str) -> Callable[..., bool]:
    return lambda jobs, profile, why: bool(profile and profile.verdict.rule == rule and not why)


CASES = {
    "too little memory": Case(MEMORY, healed, {"finetune": "all", "epochs": 1, "on_issue": {"OutOfMemory": "retry"}}),
    "a slow disk": Case(DISK.format(seconds=SLOW_SECONDS), verdict_of("IOBottleneck")),
    "a disk that is stuck": Case(
        DISK.format(seconds=f"{STUCK_SECONDS} if len(files) == 20 else 0"),
        stalled,
        {
            "rules": f"default,StalledTrainingRule:threshold={STALLED_SECONDS}",
            "on_issue": {"StalledTrainingRule": "stop"},
        },
    ),
    "a slow instance of two": Case(
        INSTANCE, verdict_of("LoadBalancing"), {"finetune": "all", "epochs": 1, "paths": "several"}
    ),
}


def stage(project: Project, folder: Path, case: Case) -> str:
    """The code of ml_scripts with something broken around it, on S3."""
    code = folder / "ml_scripts"
    shutil.copytree(ROOT / "ml_scripts", code, ignore=shutil.ignore_patterns("__pycache__"))
    (code / "train.py").rename(code / "whole.py")
    (code / "train.py").write_text(TRAIN.format(broken=case.broken))
    return stage_code(project.s3, project.environment.bucket, code).uri


def run(project: Project, name: str, case: Case, folder: Path, inputs: dict[str, str]) -> bool:
    """Train, and say what became of it; whether that is right."""
    params = {"epochs": 4, **case.params}
    project.run_as("train_image_classifier", re.sub(r"\W+", "-", name), **params)
    best = {"job": "a-trial", "hyperparameters": {"lr": "0.001", "batch-size": "32"}, "objective": 1.0}
    trial = {**best, "status": "Completed", "seconds": 60.0}
    tuning = record.Tuning(job="t", strategy="Random", instance_type="ml.m5.xlarge", trials=[trial], best=best)
    inputs = {**inputs, "code": stage(project, folder, case)}
    several, why = params.get("paths") == "several", ""
    try:
        trained = project.perform(TrainOperator, 1200, inputs=inputs, tuning=tuning.to_json(), several=several)
        project.perform(EvaluateCandidatesOperator, candidates=[trained])
    except AirflowFailException as error:
        why = str(error)
    read = lambda part: record.read(project.s3, project.environment.bucket, project.run.key, part)  # noqa: E731
    jobs, profiles = read(record.Diagnostics).jobs, read(record.Profile)
    profile = profiles.jobs[0] if profiles else None
    right = case.right(jobs, profile, why)
    print(f"{'ok   ' if right else 'WRONG'} {name}", flush=True)
    for job in jobs:
        changed = f", with {remedies.words(job.remedy)}" if job.remedy else ""
        ended = f", ended by {job.fired}" if job.fired else ""
        saved = f"; {job.saved.basis}" if job.saved else ""
        print(f"      {job.status}{changed}{ended}, {job.billable_seconds:.3g} s, ${job.cost_usd:.2g}{saved}")
    if why:
        print(f"      the task: {why}")
    if profile:
        verdict = profile.verdict
        print(f"      {verdict.rule}: {verdict.sentence}: {verdict.next_step} ({verdict.share:.0%} of the time)")
    return right


def main() -> int:
    parser = argparse.ArgumentParser(description="Broken jobs on the local AWS.")
    parser.add_argument("--only", default="", help="a regular expression for the names of cases")
    given = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        daemon = start_daemon(folder / "local-aws", anew=True)
        try:
            os.environ |= {"AWS_ENDPOINT_URL": daemon.url, "AWS_DEFAULT_REGION": "us-east-1", **bootstrap.CREDENTIALS}
            values = bootstrap.prepare_account(daemon.client)
            project = Project(daemon, Environment(**{**values, "poll_seconds": 0.2}))
            inputs = given_inputs(project, folder)
            for name, case in CASES.items():
                if re.search(given.only, name):
                    with tempfile.TemporaryDirectory() as own:
                        failed |= not run(project, name, case, Path(own), inputs)
        finally:
            daemon.stop()
    return failed


def given_inputs(project: Project, folder: Path) -> dict[str, str]:
    """A drawn data set and the backbone's weights, on S3."""
    bucket = project.environment.bucket
    draw(folder / "four", breeds=4, train=8, valid=3, test=3)
    for path in sorted(each for each in (folder / "four").rglob("*") if each.is_file()):
        project.s3.upload_file(str(path), bucket, f"dataset/four/{path.relative_to(folder / 'four').as_posix()}")
    return {
        "dataset": f"s3://{bucket}/dataset/four/",
        "pretrained": stage_pretrained(project.s3, bucket, "efficientnet_lite0").uri,
    }


if __name__ == "__main__":
    sys.exit(main())
