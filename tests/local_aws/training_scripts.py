"""Small training scripts and the requests that run them, for the tests of training and tuning jobs."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import tarfile
import textwrap
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.13-cpu-amzn2023-sagemaker"
ENDED = {"Completed", "Failed", "Stopped"}

# One script for every job without torch: what it does is its --mode.
SCRIPT = textwrap.dedent('''
    import argparse, json, os, pathlib, signal, sys, time, urllib.request

    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", default="succeed")
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--choice", default="")
    arguments, _ = parser.parse_known_args()
    model, output = pathlib.Path(os.environ["SM_MODEL_DIR"]), pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"])
    checkpoints = pathlib.Path(os.environ["SM_CHECKPOINT_DIR"])
    host = os.environ["SM_CURRENT_HOST"]

    def succeed():
        train = pathlib.Path(os.environ["SM_CHANNEL_TRAIN"])
        seen = sorted(str(path.relative_to(train)) for path in train.rglob("*") if path.is_file())
        for epoch in (1, 2):
            print(f"epoch={epoch} loss={1 / epoch}")
        print("only on standard error: accuracy=0.75", file=sys.stderr)
        told = ("AWS_ACCESS", "AWS_CONTAINER", "AWS_SECRET", "AWS_ENDPOINT")
        secrets = sorted(name for name in os.environ if name.startswith(told))
        address = os.environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        role = json.load(urllib.request.urlopen(address))["RoleArn"] if address else None
        facts = {"seen": seen, "secrets": secrets, "role": role, "argv": sys.argv[1:],
                 "threads": os.environ["OMP_NUM_THREADS"],
                 "forked": ["torch" in sys.modules, "LOCAL_AWS_ORDERS" in os.environ],
                 "restored": sorted(path.name for path in checkpoints.iterdir())}
        (model / "weights.bin").write_bytes(b"weights")
        (output / f"facts-{host}.json").write_text(json.dumps(facts))
        (checkpoints / "state.txt").write_text("epoch 2")

    def leave_something():
        (model / "weights.bin").write_bytes(b"half trained")
        (output / f"facts-{host}.json").write_text(json.dumps({"birds": 4}))

    def fail():
        leave_something()
        raise ValueError("the pictures are of birds only")

    def fail_in_pieces():
        for piece in ("epoch=1 lo", "ss=0.25", "\\nValueError", ": the pictures ", "are of birds only\\n"):
            os.write(2, piece.encode())
            time.sleep(0.05)
        sys.exit(1)

    def killed():
        os.kill(os.getpid(), signal.SIGKILL)

    def one_host_dies():
        if json.loads(os.environ["SM_HOSTS"]).index(host) == 1:
            raise RuntimeError("the second host died")
        time.sleep(600)

    def hang():
        leave_something()
        print("hanging", flush=True)
        time.sleep(600)

    def diagnosed():
        config = json.loads((output.parents[1] / "input/config/debughookconfig.json").read_text())
        def rule(name, status, details, **parameters):
            return {"rule": name, "status": status, "status_details": details, "parameters": parameters}
        rules = [rule("Overfit", "NoIssuesFound", "looked at 3", patience=1),
                 rule("AllZero", "NoIssuesFound", "", threshold=100.0), rule("Dataloader", "Stopped", "no workers")]
        (output / "diagnostics.json").write_text(json.dumps({"rules": rules, "hook": config}))
        board = output.parent / "tensorboard" / "run"
        board.mkdir()
        (board / "events.out").write_bytes(b"curves")
        print("DiagnosticRule VanishingGradient: IssuesFound step=3 value=1e-9 threshold=1e-7: gone", flush=True)
        time.sleep(600)

    def busy():
        print("busy", flush=True)
        began = time.process_time()
        while time.process_time() - began < 4:
            pass

    def stopped():
        def stop(*_):
            print("SIGTERM came", flush=True)
            time.sleep(0.5)  # saving takes its time
            (model / "weights.bin").write_bytes(b"half trained")
            sys.exit(0)
        signal.signal(signal.SIGTERM, stop)
        (checkpoints / "state.txt").write_text("epoch 1")
        print("waiting", flush=True)
        while True:
            time.sleep(0.1)

    def spot(goes_when_told=True, saving=0):
        # Each start knows from its checkpoint which one it is; from the second on it has nothing left to do.
        attempts = checkpoints / f"attempts-{host}.txt"
        attempt = int(attempts.read_text()) + 1 if attempts.exists() else 1
        (model / f"attempt-{attempt}.bin").write_bytes(b"weights")
        def stop(*_):
            print("SIGTERM came", flush=True)
            time.sleep(saving)
            if goes_when_told:
                attempts.write_text(str(attempt))
                sys.exit(0)
        signal.signal(signal.SIGTERM, stop)
        if not goes_when_told:
            attempts.write_text(str(attempt))
        print(f"attempt={attempt}", flush=True)
        while attempt == 1:
            time.sleep(0.1)
        time.sleep(1.5)

    def stubborn():
        spot(goes_when_told=False)

    def saves_for_long():
        spot(saving=3)

    def fill():
        with open(model / "large.bin", "wb") as file:
            for _ in range(200):
                file.write(b"x" * 2**20)

    def trial():
        print(f"score={(arguments.rate - 0.3) ** 2 + (0.5 if arguments.choice == 'bad' else 0.0)}")

    def curve():
        # A good trial ends at once; a bad one is bad from its first epoch on and goes on for ever.
        if arguments.choice == "good":
            for _ in range(600):  # more than the bad one may have by then
                print("score=1.0")
            return
        while True:
            print("score=9.0", flush=True)
            time.sleep(0.1)

    locals()[arguments.mode]()
''')  # fmt: skip

# Two hosts that add up their ranks. torch takes seconds to start, so only the tests of torchrun use this one.
REDUCE = textwrap.dedent("""
    import argparse, json, os, pathlib, signal, sys, time, urllib.request
    import torch, torch.distributed as dist
    import beside

    parser = argparse.ArgumentParser()
    parser.add_argument("--mode")
    mode = parser.parse_known_args()[0].mode
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    total = torch.tensor([rank + 1.0])
    dist.all_reduce(total)
    if mode == "raise":
        if rank == 1:
            raise ValueError("rank one is unhappy")
        dist.all_reduce(total)  # which its peer never joins
    if mode == "stopped":
        def stop(*_):
            pathlib.Path(os.environ["SM_MODEL_DIR"], "weights.bin").write_bytes(b"half trained")
            os._exit(0)
        signal.signal(signal.SIGTERM, stop)
        print("waiting", flush=True)
        time.sleep(600)
    facts = {"total": total.item(), "rank": rank, "world": dist.get_world_size(), "port": os.environ["MASTER_PORT"],
             "torch": os.environ["SM_DLC_TORCH_VERSION"] == torch.__version__, "beside": beside.HERE,
             "main": __name__, "script": os.path.basename(sys.argv[0])}
    pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"], f"rank-{rank}.json").write_text(json.dumps(facts))
    print(f"loss={total.item()}", flush=True)
    dist.destroy_process_group()
    sys.exit()
""")
BESIDE = "HERE = True"

METRICS = [
    {"Name": "loss", "Regex": "loss=([0-9.eE+-]+)"},
    {"Name": "accuracy", "Regex": "accuracy=([0-9.eE+-]+)"},
    {"Name": "score", "Regex": "score=([0-9.eE+-]+)"},
]

_numbers = itertools.count(1)


def archive(**files: str) -> bytes:
    """A sourcedir.tar.gz: `archive(job="source of job.py")`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, source in files.items():
            info = tarfile.TarInfo(f"{name}.py")
            info.size = len(source.encode())
            tar.addfile(info, io.BytesIO(source.encode()))
    return gzip.compress(buffer.getvalue())


class Jobs:
    """Starts training jobs in a local AWS, as the project's own requests do, and looks at them."""

    def __init__(self, daemon: Any, bucket: str, role: str, wait_for: Callable[..., Any]) -> None:
        self.bucket, self.role, self.wait_for, self.url = bucket, role, wait_for, daemon.url
        self.sagemaker, self.s3, self.logs = (daemon.client(name) for name in ("sagemaker", "s3", "logs"))
        self.s3.put_object(
            Bucket=bucket, Key="code/job/sourcedir.tar.gz", Body=archive(job=SCRIPT, reduce=REDUCE, beside=BESIDE)
        )  # fmt: skip
        for number in range(4):
            self.s3.put_object(Bucket=bucket, Key=f"data/train/bird/{number}.jpg", Body=b"picture")

    def definition(self, program: str = "job.py", *, instances: int = 1, runtime: int = 120) -> dict[str, Any]:
        """What a training job and a tuning job's trials have in common."""
        return {
            "AlgorithmSpecification": {
                "TrainingImage": IMAGE, "TrainingInputMode": "File", "MetricDefinitions": METRICS,
            },
            "RoleArn": self.role,
            "InputDataConfig": [self.channel("train", "data/train/"), self.channel("code", "code/job/")],
            "OutputDataConfig": {"S3OutputPath": f"s3://{self.bucket}/jobs"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": instances, "VolumeSizeInGB": 5},
            "StoppingCondition": {"MaxRuntimeInSeconds": runtime},
            "EnableNetworkIsolation": True,
        }  # fmt: skip

    @staticmethod
    def script(program: str = "job.py", **values: str) -> dict[str, str]:
        return {
            "sagemaker_program": program,
            "sagemaker_submit_directory": "/opt/ml/input/data/code/sourcedir.tar.gz",
            "sagemaker_region": "us-east-1",
            "sagemaker_container_log_level": "20",
            **values,
        }

    def channel(self, name: str, prefix: str, distribution: str = "FullyReplicated") -> dict[str, Any]:
        source = {
            "S3DataType": "S3Prefix",
            "S3Uri": f"s3://{self.bucket}/{prefix}",
            "S3DataDistributionType": distribution,
        }
        return {"ChannelName": name, "DataSource": {"S3DataSource": source}, "InputMode": "File"}

    def request(
        self, mode: str = "succeed", *, program: str = "job.py", torchrun: bool = False, **options: Any
    ) -> dict[str, Any]:
        values = {"mode": mode} | ({"sagemaker_torch_distributed_enabled": "true"} if torchrun else {})
        return {
            "TrainingJobName": f"{mode.replace('_', '-')}-{next(_numbers)}",
            **self.definition(program, **options),
            "HyperParameters": self.script(program, **values),
        }

    def start(self, mode: str = "succeed", *, changes: dict[str, Any] | None = None, **options: Any) -> str:
        """Create a job; its name."""
        request = self.request(mode, **options) | (changes or {})
        self.sagemaker.create_training_job(**request)
        return request["TrainingJobName"]

    def describe(self, name: str) -> dict[str, Any]:
        return self.sagemaker.describe_training_job(TrainingJobName=name)

    def end(self, name: str, seconds: float = 180) -> dict[str, Any]:
        """Wait for a job's end; its description."""
        self.wait_for(
            lambda: self.describe(name)["TrainingJobStatus"] in ENDED, seconds, f"{name} has not ended"
        )  # fmt: skip
        return self.describe(name)

    def interrupt(self, name: str) -> tuple[int, str]:
        """Take a job's Spot capacity back; the answer's status and sentence."""
        body = json.dumps({"name": name}).encode()
        try:
            with urllib.request.urlopen(f"{self.url}/_local_aws/interrupt", data=body, timeout=10) as answer:
                return answer.status, json.load(answer)["message"]
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)["message"]

    def lines(self, name: str, host: str = "algo-1") -> list[str]:
        """What a host said, from CloudWatch Logs."""
        group, prefix = "/aws/sagemaker/TrainingJobs", f"{name}/{host}-"
        try:
            found = self.logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=prefix)
        except self.logs.exceptions.ResourceNotFoundException:
            return []
        return [
            event["message"]
            for stream in found["logStreams"]
            for event in self.logs.get_log_events(
                logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True
            )["events"]
        ]

    def says(self, name: str, line: str) -> None:
        """Wait until a job's first host has said a line."""
        self.wait_for(lambda: line in self.lines(name), 60, f"{name} never said {line!r}")

    def files(self, name: str, archive_name: str) -> dict[str, bytes]:
        """The content of a job's model.tar.gz or output.tar.gz; empty when there is none."""
        try:
            body = self.s3.get_object(Bucket=self.bucket, Key=f"jobs/{name}/output/{archive_name}")["Body"].read()
        except self.s3.exceptions.NoSuchKey:
            return {}
        with tarfile.open(fileobj=io.BytesIO(body)) as tar:
            return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}

    def facts(self, name: str) -> list[dict[str, Any]]:
        """The JSON files that a job's hosts wrote as output, in order of their names."""
        return [json.loads(body) for _, body in sorted(self.files(name, "output.tar.gz").items())]
