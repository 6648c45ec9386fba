"""Runs train.py on an EC2 instance as SageMaker's container would, and heeds the Spot interruption notice.

    python run_on_ec2.py job.json

`job.json`: `region`; `channels` {name: s3:// prefix}; `hyperparameters` {name: text}; `checkpoints` and `output`, s3://
prefixes. Downloads the channels and what there is of checkpoints, trains, keeps the checkpoints on S3 up to date, and
leaves `model.tar.gz` and `output.tar.gz` under `output`; of a training that failed, `output.tar.gz` with what it had
written. Whoever watches reads `status.json` beside `job.json`; each instance's last one is also on S3, at
`<output>hosts/<instance id>.json`, where it outlives the instance.

Exit status: train.py's; 0 also when the instance is being taken back, once everything is saved. The states in
`status.json`: downloading, training, uploading, then completed, failed, interrupted (the Spot notice came) or stopped
(SIGTERM came).
"""

import json
import os
import queue
import signal
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

METADATA = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254").rstrip("/")
# AWS gives two minutes; its guide asks for a look every five seconds at the least ("Spot Instance interruption
# notices"). The service is on the host itself, so that a second costs nothing.
NOTICE_SECONDS = 1.0
SYNC_SECONDS = 2.0
STREAMS = 8
# As much of a script's `failure` as SageMaker shows.
FAILURE_REASON_LIMIT = 1024


def metadata(path: str, seconds: float = 2.0) -> str | None:
    """One item of the instance metadata service, version 2; None when it is not there."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    ask = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    try:
        request = urllib.request.Request(f"{METADATA}/latest/api/token", method="PUT", headers=ask)
        with opener.open(request, timeout=seconds) as answer:
            token = answer.read().decode()
        request = urllib.request.Request(f"{METADATA}/latest/{path}", headers={"X-aws-ec2-metadata-token": token})
        with opener.open(request, timeout=seconds) as answer:
            return answer.read().decode()
    except OSError:  # urllib's errors, a 404 among them, are OSErrors
        return None


class Storage:
    """The few things that are done with S3."""

    def __init__(self, region: str) -> None:
        import boto3  # on AWS's image and on the Deep Learning AMI; nothing else here needs it

        # botocore asks the metadata service for credentials once, for a second; a busy new host may take longer.
        os.environ.setdefault("AWS_METADATA_SERVICE_TIMEOUT", "5")
        os.environ.setdefault("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "5")
        self.s3 = boto3.client("s3", region_name=region)
        self.sent: dict[Path, tuple[int, int]] = {}

    @staticmethod
    def split(uri: str) -> tuple[str, str]:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return bucket, key

    def download(self, uri: str, folder: Path) -> int:
        """Every object under a prefix, at the same place below `folder`; how many there were."""
        bucket, prefix = self.split(uri)
        folder.mkdir(parents=True, exist_ok=True)
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [item["Key"] for page in pages for item in page.get("Contents", ()) if not item["Key"].endswith("/")]

        def fetch(key: str) -> None:
            path = folder / key[len(prefix) :].lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            self.s3.download_file(bucket, key, str(path))

        with ThreadPoolExecutor(STREAMS) as pool:
            list(pool.map(fetch, keys))
        return len(keys)

    def upload(self, path: Path, uri: str) -> None:
        bucket, key = self.split(uri)
        self.s3.upload_file(str(path), bucket, key)

    def upload_changed(self, folder: Path, uri: str) -> bool:
        """Send the finished files of a folder that are new or changed; whether there were any."""
        changed = False
        for path in sorted(folder.rglob("*")):
            # Scripts write beside the file and rename, so what has its name is whole.
            if not path.is_file() or path.suffix in (".tmp", ".partial") or path.name.startswith("."):
                continue
            try:
                stat = path.stat()
                mark = (stat.st_mtime_ns, stat.st_size)
                if self.sent.get(path) != mark:
                    self.upload(path, f"{uri}{path.relative_to(folder).as_posix()}")
                    self.sent[path], changed = mark, True
            except FileNotFoundError:  # replaced or removed while we looked
                continue
        return changed

    def known(self, folder: Path) -> None:
        """What is in a folder now need not be sent."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.sent[path] = (path.stat().st_mtime_ns, path.stat().st_size)


class Status:
    """`status.json`: replaced as a whole at every change. Times are Unix seconds."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.facts: dict[str, object] = {"state": "downloading", "started_at": time.time()}
        self.write()

    def write(self, **facts: object) -> None:
        self.facts |= facts
        beside = self.file.with_suffix(".tmp")
        beside.write_text(json.dumps(self.facts))
        beside.replace(self.file)


class Run:
    """One training on this instance."""

    def __init__(self, job: dict, folder: Path) -> None:
        self.job, self.folder = job, folder
        self.storage = Storage(job["region"])
        self.status = Status(folder / "status.json")
        self.instance = metadata("meta-data/instance-id") or "unknown"
        self.status.write(instance_id=self.instance)
        self.process: subprocess.Popen | None = None
        self.ending: str | None = None
        self.over = threading.Event()

    def end(self, state: str) -> None:
        """The instance is going: let the script save what it has."""
        if self.ending is None:
            self.ending = state
            print(f"{state}: telling train.py to save its state", flush=True)
            if self.process is not None and self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)

    def watch_for_notice(self) -> None:
        while not self.over.wait(NOTICE_SECONDS):
            notice = metadata("meta-data/spot/instance-action")
            if notice:
                print(f"Spot interruption notice: {notice}", flush=True)
                self.end("interrupted")
                return

    def train(self) -> int:
        """Inputs, training, outputs; train.py's exit status."""
        places = {name: self.folder / name for name in ("model", "output", "checkpoints")}
        for place in places.values():
            place.mkdir(exist_ok=True)
        for name, uri in self.job["channels"].items():
            count = self.storage.download(uri, self.folder / "input" / name)
            print(f"channel {name}: {count} files from {uri}", flush=True)
            if not count:
                raise FileNotFoundError(f"channel {name}: there is nothing under {uri}")
        restored = self.storage.download(self.job["checkpoints"], places["checkpoints"])
        self.storage.known(places["checkpoints"])
        print(f"checkpoints: {restored} files from {self.job['checkpoints']}", flush=True)
        if self.ending is None:
            self.status.write(state="training", training_started_at=time.time(), checkpoint_files=restored)
            status = self._script(places)
        self._keep_checkpoints(places["checkpoints"])
        if self.ending is not None:
            self.status.write(state=self.ending, ended_at=time.time())
            return 0
        if status:
            self._fail(places["output"], status)
            return status
        self.status.write(state="uploading")
        for name, place in (("model", places["model"]), ("output", places["output"])):
            self._archive(place, name)
        self.status.write(state="completed", exit_status=status, ended_at=time.time())
        return status

    def _fail(self, output: Path, status: int) -> None:
        """What a script that failed has written is kept, as SageMaker does, and its own sentence is the reason."""
        facts: dict[str, object] = {"state": "failed", "exit_status": status}
        try:
            if sentence := (output / "failure").read_text(errors="replace").strip():
                facts["reason"] = sentence[:FAILURE_REASON_LIMIT]
        except OSError:  # it ended without a word of its own
            pass
        try:
            if any(output.iterdir()):
                self._archive(output, "output")
        except Exception as error:  # why the training failed says more
            print(f"the output could not be sent: {type(error).__name__}: {error}", flush=True)
        self.status.write(**facts, ended_at=time.time())

    def _script(self, places: dict[str, Path]) -> int:
        words = [f"--{name}={value}" for name, value in sorted(self.job["hyperparameters"].items())]
        channels = {f"SM_CHANNEL_{name.upper()}": str(self.folder / "input" / name) for name in self.job["channels"]}
        environment = {
            **os.environ,
            **channels,
            "SM_MODEL_DIR": str(places["model"]),
            "SM_OUTPUT_DATA_DIR": str(places["output"]),
            "SM_CHECKPOINT_DIR": str(places["checkpoints"]),
            "PYTHONUNBUFFERED": "1",
        }
        script = Path(__file__).with_name("train.py")
        self.process = subprocess.Popen([sys.executable, str(script), *words], env=environment, cwd=script.parent)
        if self.ending is not None:  # between the check before and the start
            self.process.send_signal(signal.SIGTERM)
        while True:
            try:
                return self.process.wait(SYNC_SECONDS)
            except subprocess.TimeoutExpired:
                self._keep_checkpoints(places["checkpoints"])

    def _keep_checkpoints(self, folder: Path) -> None:
        before = time.time()
        try:
            if self.storage.upload_changed(folder, self.job["checkpoints"]):
                self.status.write(checkpoint_at=before)
        except Exception as error:
            # The next round tries again; a training that goes on is worth more than one checkpoint.
            print(f"the checkpoints could not be sent: {type(error).__name__}: {error}", flush=True)

    def _archive(self, place: Path, name: str) -> None:
        file = self.folder / f"{name}.tar.gz"
        with tarfile.open(file, "w:gz", compresslevel=1) as archive:
            for path in sorted(place.iterdir()):
                archive.add(path, path.name)
        self.storage.upload(file, f"{self.job['output']}{file.name}")
        print(f"{file.name}: {file.stat().st_size} bytes to {self.job['output']}", flush=True)

    def leave_status(self) -> None:
        self.storage.upload(self.status.file, f"{self.job['output']}hosts/{self.instance}.json")


def main(file: Path) -> int:
    """Run the job that `file` describes; the exit status."""
    run = Run(json.loads(file.read_text()), file.absolute().parent)
    # A handler runs in between whatever this thread does, such as a print, and two of those do not go into each other.
    told: queue.SimpleQueue[str] = queue.SimpleQueue()
    signal.signal(signal.SIGTERM, lambda *_: told.put("stopped"))
    threading.Thread(target=lambda: run.end(told.get()), name="stop", daemon=True).start()
    threading.Thread(target=run.watch_for_notice, name="notice", daemon=True).start()
    try:
        status = run.train()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        print(reason, flush=True)
        run.status.write(state="failed", exit_status=1, reason=reason, ended_at=time.time())
        status = 1
    run.over.set()
    try:
        run.leave_status()
    except Exception as error:
        print(f"the status could not be sent: {type(error).__name__}: {error}", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
