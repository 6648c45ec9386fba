"""How often the judge of a release is wrong, by the number of samples.

    .venv/bin/python benchmarks/judge_power.py [--record FILE]

Both fleets' latencies are drawn from recorded ones: two endpoints of the same trained model on one laptop, asked in
turn (tests/plugins/release/latencies.json; --record makes them anew). Drawn in blocks, as they came one
after the other: what slows one request down slows the next ones as well.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import boto3
from musher.config import DeploymentConfig
from musher.load.generator import run_phase
from musher.load.outcome import Outcome
from musher.load.schedule import Phase
from musher.load.targets import EndpointTarget
from musher.release import pace
from musher.release.judge import Answer, Tolerances, judge, latency

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "tests/plugins/release/latencies.json"
BLOCK = 10
COMPARISONS = 200
SAMPLES = (100, 200, 400, 800)
PICTURES = (60, 200, 600)
ACCURACY = 0.94
# Where two models of this accuracy differ at all: pictures that only one of them tells right.
DISCORDANT = 0.04


def stretches(recorded: dict[str, list[float]], count: int, chance: random.Random) -> dict[str, list[float]]:
    """`count` recorded milliseconds of each fleet, in blocks as they came, both fleets' from the same moments."""
    drawn: dict[str, list[float]] = {"old": [], "new": []}
    while len(drawn["old"]) < count:
        first = chance.randrange(len(recorded["old"]) - BLOCK)
        for fleet, values in drawn.items():
            values += recorded[fleet][first : first + BLOCK]
    return {fleet: values[:count] for fleet, values in drawn.items()}


def comparison(
    recorded: dict[str, list[float]],
    requests: int,
    pictures: int,
    chance: random.Random,
    *,
    slower: float = 0.0,
    errors: float = 0.0,
    less_accurate: float = 0.0,
) -> list[Answer]:
    """Answers of both fleets to `requests` requests each, the new one worse by what is given."""
    answers = []
    # Of the pictures that the two differ on, half are lost and half are won where neither is better.
    wrong = {"old": {}, "new": {}}
    for number in range(pictures):
        lost = chance.random() < DISCORDANT / 2 + less_accurate
        won = not lost and chance.random() < DISCORDANT / 2
        neither = not lost and not won and chance.random() < 1 - ACCURACY - DISCORDANT / 2
        wrong["old"][number], wrong["new"][number] = won or neither, lost or neither
    drawn = stretches(recorded, requests, chance)
    for fleet, factor, share in (("old", 1.0, 0.0), ("new", 1 + slower, errors)):
        for number, milliseconds in enumerate(drawn[fleet]):
            picture = number % pictures
            failed = chance.random() < share
            said = None if failed else "other" if wrong[fleet][picture] else "right"
            answers.append(Answer(fleet, not failed, milliseconds * factor, str(picture), "right", said))
    return answers


def failures(recorded: dict[str, list[float]], requests: int, pictures: int, **worse: float) -> int:
    """Of COMPARISONS comparisons, how many end in a failure."""
    chance = random.Random(f"{requests} {pictures} {worse}")
    outcomes = [judge(comparison(recorded, requests, pictures, chance, **worse)).outcome for _ in range(COMPARISONS)]
    return outcomes.count("fail")


def main() -> None:
    if sys.argv[1:2] == ["--record"]:
        record(Path(sys.argv[2]))
        return
    recorded = json.loads(RECORDED.read_text())
    print(f"of {COMPARISONS} comparisons, how many fail; by requests to each fleet:")
    print(f"{'':28}{''.join(f'{n:>6}' for n in SAMPLES)}")
    for name, worse in (
        ("the same model", {}),
        ("20 % slower", {"slower": 0.20}),
        ("50 % slower", {"slower": 0.50}),
        ("1 % errors", {"errors": 0.01}),
        ("5 % errors", {"errors": 0.05}),
    ):
        counts = [failures(recorded, n, 60, **worse) for n in SAMPLES]
        print(f"{name:28}{''.join(f'{n:>6}' for n in counts)}")
    print(f"by different labelled pictures:\n{'':28}{''.join(f'{n:>6}' for n in PICTURES)}")
    for name, worse in (
        ("the same accuracy", {}),
        ("3 points less accurate", {"less_accurate": 0.03}),
        ("10 points less accurate", {"less_accurate": 0.10}),
    ):
        counts = [failures(recorded, max(n, 100), n, **worse) for n in PICTURES]
        print(f"{name:28}{''.join(f'{n:>6}' for n in counts)}")
    print(f"in the rehearsal, {pace.REQUESTS} requests each, a model is refused that is slower by")
    for slower in (0.0, 0.2, 0.5, 0.75, 1.0):
        print(f"{f'{slower:.0%}':28}{refused(recorded, slower):>6}")


def refused(recorded: dict[str, list[float]], slower: float) -> int:
    """Of COMPARISONS rehearsals, how many refuse a model that is slower than what serves by this share."""
    chance = random.Random(f"rehearsal {slower}")
    tolerances = Tolerances(slower=DeploymentConfig().slower_in_rehearsal_allowed, least_requests=pace.LEAST)
    count = 0
    for _ in range(COMPARISONS):
        drawn = stretches(recorded, pace.REQUESTS, chance)
        answers = [Answer("old", True, each) for each in drawn["old"]]
        answers += [Answer("new", True, each * (1 + slower)) for each in drawn["new"]]
        count += latency(answers, tolerances).outcome == "fail"
    return count


class InTurn:
    """A target that sends each payload to the target of its own."""

    def __init__(self, targets: dict[bytes, EndpointTarget]) -> None:
        self.targets = targets

    def prepare(self, payload: bytes, ahead_seconds: float) -> Callable[[], Outcome]:
        return self.targets[payload].prepare(payload, ahead_seconds)


def record(target: Path, seconds: float = 150, rps: float = 20) -> None:
    """Latencies of two endpoints with the same model, asked in turn."""
    from invocations import IMAGE, wait_until_ready

    from tests.ports import free_port

    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        picture = train(folder)
        command = [sys.executable, "-m", "local_aws", "--port", str(port), "--state", str(folder / "state")]
        command += ["--jobs-python", str(ROOT / ".venv-ml/bin/python")]
        daemon = subprocess.Popen(command, cwd=ROOT)
        try:
            wait_until_ready(port)
            keys = {"aws_access_key_id": "bench", "aws_secret_access_key": "bench", "region_name": "us-east-1"}
            client = partial(boto3.client, endpoint_url=f"http://127.0.0.1:{port}", **keys)
            client("s3").create_bucket(Bucket="bench")
            client("s3").upload_file(str(folder / "model.tar.gz"), "bench", "model.tar.gz")
            for endpoint in ("old", "new"):
                serve(client("sagemaker"), endpoint, IMAGE)
            targets = {each: EndpointTarget(each, client) for each in ("old", "new")}
            # The last byte, behind the picture's end, says whom it is for.
            payloads = {picture + name.encode(): name for name in targets}
            asked = InTurn({payload: targets[name] for payload, name in payloads.items()})
            for length in (5, seconds):
                phase = Phase(name="record", kind="rate", rps=rps, seconds=length)
                result = run_phase(phase, asked, list(payloads))
            found: dict[str, list[float]] = {name: [] for name in targets}
            for sample in result.samples:
                assert sample.outcome.status == "succeeded", sample.outcome
                name = ("old", "new")[round(sample.due * rps) % 2]
                found[name].append(round((sample.done - sample.due) * 1000, 2))
        finally:
            daemon.terminate()
            daemon.wait(30)
    target.write_text(json.dumps(found) + "\n")
    print({each: len(values) for each, values in found.items()})


def train(folder: Path) -> bytes:
    """Make `model.tar.gz` with the trained classifier in a folder; returns a test picture."""
    python = ROOT / ".venv-ml/bin/python"
    prepare = "import sys, pathlib; from cached_features import prepare; print(*prepare(pathlib.Path(sys.argv[1])))"
    arguments = subprocess.run(
        [python, "-c", prepare, folder], cwd=ROOT / "benchmarks", check=True, capture_output=True, text=True
    ).stdout.split()
    train = [python, ROOT / "ml_scripts/train.py", *arguments, "--head=linear", "--epochs=3"]
    subprocess.run(train, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(folder / "model.tar.gz", "w:gz") as tar:
        tar.add(folder / "model", ".")
    return next((folder / "data/test").rglob("*.jpg")).read_bytes()


def serve(sagemaker: Any, name: str, image: str) -> None:
    container = {"Image": image, "ModelDataUrl": "s3://bench/model.tar.gz"}
    sagemaker.create_model(
        ModelName=name, ExecutionRoleArn="arn:aws:iam::123456789012:role/bench", PrimaryContainer=container
    )
    variant = {"VariantName": "all", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig={"Delay": 1})


if __name__ == "__main__":
    main()
