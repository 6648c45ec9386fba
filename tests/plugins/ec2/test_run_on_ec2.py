"""What runs on the instance, with a training script that takes no time: inputs, checkpoints, notice, outputs."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import textwrap
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
JOBS_PYTHON = Path(os.environ.get("MUSHER_JOBS_PYTHON", ROOT / ".venv-ml/bin/python"))
INSTANCE = "i-0123456789abcdef0"

# Counts to --epochs, keeps the count in its checkpoint folder, and saves it when it is told to stop.
SCRIPT = textwrap.dedent("""
    import os, pathlib, signal, sys, time
    words = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
    file = pathlib.Path(os.environ["SM_CHECKPOINT_DIR"], "count")
    count = int(file.read_text()) if file.exists() else 0
    print(f"begin at {count}", flush=True)
    def stop(*_):
        file.write_text(str(count))
        sys.exit(143)
    signal.signal(signal.SIGTERM, stop)
    if words["mode"] == "fail":
        output = pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"])
        (output / "diagnostics.json").write_text("{}")
        (output / "failure").write_text("DiagnosticRule OneClass: only birds")
        raise SystemExit("the pictures are of birds only")
    while count < int(words["epochs"]):
        time.sleep(0.1)
        count += 1
        (file.parent / "count.partial").write_text(str(count))
        os.replace(file.parent / "count.partial", file)
    picture = pathlib.Path(os.environ["SM_CHANNEL_TRAIN"], "dog/1.jpg").read_text()
    pathlib.Path(os.environ["SM_MODEL_DIR"], "weights").write_text(picture)
    pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"], "evaluation.json").write_text("{}")
""")


class Metadata(BaseHTTPRequestHandler):
    """Version 2 of the metadata service: no token, no answer."""

    items: dict[str, str]

    def do_PUT(self):
        self._answer(200, "a-token")

    def do_GET(self):
        if self.headers.get("X-aws-ec2-metadata-token") != "a-token":
            return self._answer(401, "")
        found = self.items.get(self.path.removeprefix("/latest/meta-data/"))
        return self._answer(200 if found else 404, found or "")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def metadata():
    """The items of a metadata service, and its address: `items["spot/instance-action"] = ...` is the notice."""
    handler = type("Items", (Metadata,), {"items": {"instance-id": INSTANCE}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield handler.items, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


class Host:
    """A folder with the code and the job, as they are on an instance."""

    def __init__(self, folder: Path, s3, bucket: str, address: str) -> None:
        self.folder, self.s3, self.bucket, self.address = folder, s3, bucket, address
        self.processes: list[subprocess.Popen] = []

    def start(self, number: int, *, output: int | None = None, **values: object) -> subprocess.Popen:
        base = self.folder / str(number)
        (base / "code").mkdir(parents=True)
        shutil.copy(ROOT / "ml_scripts/run_on_ec2.py", base / "code")
        (base / "code/train.py").write_text(SCRIPT)
        job = {
            "region": "us-east-1",
            "channels": {"train": f"s3://{self.bucket}/data/train/"},
            "hyperparameters": {name: str(value) for name, value in values.items()},
            "checkpoints": f"s3://{self.bucket}/checkpoints/job/",
            "output": f"s3://{self.bucket}/jobs/job/output/",
        }
        (base / "job.json").write_text(json.dumps(job))
        environment = {**os.environ, "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.address}
        environment["PYTHONUNBUFFERED"] = "1" if output is None else ""
        with (base / "log.txt").open("wb") as log:
            process = subprocess.Popen(
                [JOBS_PYTHON, "code/run_on_ec2.py", "job.json"], cwd=base, env=environment,
                stdout=log if output is None else output, stderr=log,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def log(self, number: int) -> str:
        return (self.folder / str(number) / "log.txt").read_text()

    def status(self, number: int) -> dict:
        with contextlib.suppress(OSError):
            return json.loads((self.folder / str(number) / "status.json").read_text())
        return {}

    def count(self, number: int) -> int:
        """How far the script has counted; it can be told to stop from then on."""
        with contextlib.suppress(OSError):
            return int((self.folder / str(number) / "checkpoints/count").read_text())
        return 0

    def until(self, condition, number: int, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.log(number)
            time.sleep(0.05)

    def object(self, key: str) -> bytes:
        return self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def archive(self, name: str) -> dict[str, bytes]:
        with tarfile.open(fileobj=io.BytesIO(self.object(f"jobs/job/output/{name}.tar.gz"))) as tar:
            return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}


@pytest.fixture
def host(tmp_path, s3, env, metadata):
    s3.put_object(Bucket=env.bucket, Key="data/train/dog/1.jpg", Body=b"a dog")
    found = Host(tmp_path, s3, env.bucket, metadata[1])
    yield found
    for process in found.processes:
        process.kill()
        process.wait(10)


def test_a_training_leaves_its_model_its_output_and_its_status_on_s3(host):
    assert host.start(1, mode="count", epochs=3).wait(180) == 0, host.log(1)
    assert host.archive("model") == {"weights": b"a dog"}
    assert host.archive("output") == {"evaluation.json": b"{}"}
    status = json.loads(host.object(f"jobs/job/output/hosts/{INSTANCE}.json"))
    assert status == host.status(1)
    assert (status["state"], status["exit_status"], status["checkpoint_files"]) == ("completed", 0, 0)
    assert status["started_at"] <= status["training_started_at"] <= status["checkpoint_at"] <= status["ended_at"]


@pytest.mark.slow
def test_after_the_spot_notice_the_next_instance_goes_on_from_the_checkpoint(host, metadata):
    # GIVEN a training under way
    first = host.start(1, mode="count", epochs=100_000)
    host.until(lambda: host.status(1).get("state") == "training" and host.count(1) > 0, 1)

    # WHEN AWS gives notice
    metadata[0]["spot/instance-action"] = '{"action": "terminate", "time": "2026-11-20T20:39:00Z"}'

    # THEN the training ends by itself and what it has is on S3
    assert first.wait(180) == 0, host.log(1)
    assert host.status(1)["state"] == "interrupted"
    count = int(host.object("checkpoints/job/count"))
    assert count > 0
    assert "model.tar.gz" not in keys(host)

    # WHEN another instance takes over
    del metadata[0]["spot/instance-action"]
    assert host.start(2, mode="count", epochs=count + 2).wait(180) == 0, host.log(2)

    # THEN it goes on where the first one stopped
    assert f"begin at {count}" in host.log(2)
    assert host.status(2)["checkpoint_files"] == 1
    assert host.archive("model") == {"weights": b"a dog"}


def test_a_stop_that_comes_while_it_prints_is_a_stop(host):
    # GIVEN a training started by hand, and a reader of its output who is busy, so that its next word waits
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(write, b"x" * 4096):
            pass
    os.set_blocking(write, True)
    process = host.start(1, output=write, mode="count", epochs=100_000)
    os.close(write)
    host.until((host.folder / "1/input/train/dog/1.jpg").exists, 1)
    time.sleep(1)
    # WHEN it is told to stop, and the reader goes on
    process.send_signal(signal.SIGTERM)
    time.sleep(1)
    reading = threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(read, 65536), b"")])
    reading.start()
    # THEN it stops, and has not failed
    assert process.wait(180) == 0, host.log(1)
    assert host.status(1)["state"] == "stopped"
    reading.join(60)
    os.close(read)


def keys(host: Host) -> set[str]:
    found = host.s3.list_objects_v2(Bucket=host.bucket, Prefix="jobs/job/output/").get("Contents", ())
    return {item["Key"].rsplit("/", 1)[-1] for item in found}


def test_a_half_written_checkpoint_is_not_sent(host):
    assert host.start(1, mode="count", epochs=30).wait(180) == 0, host.log(1)
    found = host.s3.list_objects_v2(Bucket=host.bucket, Prefix="checkpoints/")["Contents"]
    assert [item["Key"] for item in found] == ["checkpoints/job/count"]
    assert host.object("checkpoints/job/count") == b"30"


def test_a_script_that_fails_leaves_its_words_and_its_output_and_no_model(host):
    assert host.start(1, mode="fail", epochs=1).wait(180) == 1
    assert host.status(1)["state"] == "failed"
    assert host.status(1)["reason"] == "DiagnosticRule OneClass: only birds"
    assert "the pictures are of birds only" in host.log(1)
    assert keys(host) == {f"{INSTANCE}.json", "output.tar.gz"}
    assert host.archive("output")["diagnostics.json"] == b"{}"


def test_a_prefix_without_objects_is_one_sentence(host):
    host.s3.delete_object(Bucket=host.bucket, Key="data/train/dog/1.jpg")
    assert host.start(1, mode="count", epochs=1).wait(180) == 1
    assert host.status(1)["reason"].startswith("FileNotFoundError: channel train: there is nothing under s3://")
    assert "Traceback" not in host.log(1)
