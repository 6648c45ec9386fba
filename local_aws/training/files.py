"""The files of a training instance: what AWS puts under /opt/ml before the script starts, and takes from there after.

Source: SageMaker developer guide, "How Amazon SageMaker Processes Training Input/Output"; sagemaker-training toolkit,
environment. `base` is what /opt/ml is in a container.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from local_aws.iam.acting import AccessDenied
from local_aws.storage import Storage, StoredObject, parse_s3_uri

CONTAINER_BASE = "/opt/ml"
GROUP = "homogeneousCluster"


class InputError(Exception):
    """A channel that cannot be read: AWS's ClientError of the job."""


def write_configuration(
    base: Path, request: Mapping[str, Any], hosts: Sequence[str], current: str, instance_type: str
) -> None:
    """The files of `input/config`, and the empty folders the script expects."""
    folder = base / "input" / "config"
    checkpoints = checkpoint_folder(request, base)
    for each in (folder, base / "model", base / "output" / "data", checkpoints, base / "code"):
        each.mkdir(parents=True, exist_ok=True)
    values = {name: mapped(value, base) for name, value in (request.get("HyperParameters") or {}).items()}
    channels = {
        channel["ChannelName"]: {
            "TrainingInputMode": "File",
            "S3DistributionType": distribution(channel),
            "RecordWrapperType": channel.get("RecordWrapperType", "None"),
        }
        for channel in request.get("InputDataConfig") or ()
    }
    resources = {
        "current_host": current,
        "hosts": list(hosts),
        "network_interface_name": "lo",
        "current_instance_type": instance_type,
        "current_group_name": GROUP,
        "instance_groups": [{"instance_group_name": GROUP, "instance_type": instance_type, "hosts": list(hosts)}],
    }
    contents = {"hyperparameters": values, "inputdataconfig": channels, "resourceconfig": resources}
    if request.get("DebugHookConfig"):
        # Where Debugger's own library looks for what is to be saved (smdebug, DEFAULT_SAGEMAKER_DEBUGGER_CONFIG).
        contents["debughookconfig"] = request["DebugHookConfig"]
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


def mapped(value: str, base: Path) -> str:
    """A hyperparameter that names a path of the container, as the path it has here.

    Under network isolation the code archive is such a path: it arrives in a channel.
    """
    inner = value.strip('"')
    if inner == CONTAINER_BASE or inner.startswith(CONTAINER_BASE + "/"):
        return value.replace(CONTAINER_BASE, str(base), 1)
    return value


def checkpoint_folder(request: Mapping[str, Any], base: Path) -> Path:
    """Where the script keeps its checkpoints: CheckpointConfig.LocalPath, /opt/ml/checkpoints by default."""
    local = (request.get("CheckpointConfig") or {}).get("LocalPath") or f"{CONTAINER_BASE}/checkpoints"
    return Path(mapped(local, base))


def tensorboard(s3: Storage, request: Mapping[str, Any], bases: Iterable[Path]) -> list[CheckpointSync]:
    """The upload of what a script writes for TensorBoard, if TensorBoardOutputConfig asks for it.

    Where to: SageMaker's SDK 2, `latest_job_tensorboard_artifacts_path`.
    """
    config = request.get("TensorBoardOutputConfig")
    if not config:
        return []
    local = config.get("LocalPath") or f"{CONTAINER_BASE}/output/tensorboard"
    folders = [Path(mapped(local, base)) for base in bases]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    uri = f"{config['S3OutputPath'].rstrip('/')}/{request['TrainingJobName']}/tensorboard-output"
    return [CheckpointSync(s3, uri, folders)]


def distribution(channel: Mapping[str, Any]) -> str:
    return channel["DataSource"].get("S3DataSource", {}).get("S3DataDistributionType", "FullyReplicated")


def objects(s3: Storage, channel: Mapping[str, Any]) -> list[tuple[str, StoredObject, str]]:
    """A channel's objects as (bucket, object, path in the channel). Raises InputError when there are none."""
    source = channel["DataSource"].get("S3DataSource")
    if source is None:
        raise InputError(
            f"ClientError: the local AWS reads channels from S3 only, not channel {channel['ChannelName']!r}."
        )
    bucket, prefix = parse_s3_uri(source["S3Uri"])
    try:
        listed = [each for each in s3.list(bucket, prefix) if not each.key.endswith("/")]
    except AccessDenied as error:
        raise InputError(denied(f"Unable to list objects of {source['S3Uri']}", error)) from error
    except FileNotFoundError as error:
        raise InputError(f"ClientError: Data download failed:{error}") from error
    if not listed:
        raise InputError(
            f"ClientError: Data download failed:S3 key: {source['S3Uri']} matched no files on s3. "
            "Please ensure that the S3 prefix is correct and that it holds at least one object."
        )
    folder = prefix if prefix.endswith("/") else prefix.rpartition("/")[0] + "/"
    return [(bucket, each, relative(each.key, prefix, folder)) for each in listed]


def relative(key: str, prefix: str, folder: str) -> str:
    """Where an object lands in its channel: AWS keeps what follows the prefix up to its last slash."""
    rest = key[len(prefix) :]
    if rest.startswith("/"):
        return rest.lstrip("/")
    return key.removeprefix(folder).lstrip("/") if folder != "/" else key


def download(s3: Storage, channel: Mapping[str, Any], folder: Path, host_index: int, hosts: int) -> int:
    """Write a channel's share for one host; how many files there were. Raises InputError, OSError (a full disk)."""
    found = objects(s3, channel)
    if distribution(channel) == "ShardedByS3Key":
        found = found[host_index::hosts]
    folder.mkdir(parents=True, exist_ok=True)
    for bucket, each, path in found:
        fetch(s3, bucket, each.key, inside(folder, path))
    return len(found)


def fetch(s3: Storage, bucket: str, key: str, path: Path) -> None:
    """Write one object to a file. Raises InputError for one that the job's role may not read, and as `download`."""
    try:
        s3.download(bucket, key, path)
    except AccessDenied as error:
        raise InputError(denied(f"Unable to download object s3://{bucket}/{key}", error)) from error


def denied(what: str, error: AccessDenied) -> str:
    """A failed job's reason, as users have quoted it in public: `(AccessDenied: Access Denied)`; here S3's whole
    sentence is in the parentheses, which an answer of S3's own has today."""
    return f"ClientError: Data download failed:{what} (AccessDenied: {error})"


def restore(s3: Storage, uri: str, folder: Path) -> int:
    """Checkpoints of an earlier try, as they were; how many files. Raises InputError."""
    bucket, prefix = parse_s3_uri(uri)
    prefix = prefix.rstrip("/") + "/" if prefix else ""
    try:
        found = [each for each in s3.list(bucket, prefix) if not each.key.endswith("/")]
    except AccessDenied as error:
        raise InputError(denied(f"Unable to list objects of {uri}", error)) from error
    for each in found:
        fetch(s3, bucket, each.key, inside(folder, each.key[len(prefix) :]))
    return len(found)


def inside(folder: Path, path: str) -> Path:
    """A path below a folder. Raises InputError when it leads out of it."""
    target = (folder / path).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise InputError(f"ClientError: Data download failed:{path} would land outside of {folder.name}.")
    return target


class CheckpointSync:
    """Uploads files of folders, such as checkpoints, that are new or changed since the last look."""

    def __init__(self, s3: Storage, uri: str, folders: Iterable[Path]) -> None:
        self.s3 = s3
        self.bucket, prefix = parse_s3_uri(uri)
        self.prefix = prefix.rstrip("/") + "/" if prefix else ""
        self.folders = list(folders)
        self.seen: dict[Path, tuple[int, int]] = {}

    def remember(self) -> None:
        """Take what is there now as uploaded: it was just restored from there."""
        self.seen = {path: state for path, state in self._files()}

    def upload(self) -> None:
        for path, state in self._files():
            if self.seen.get(path) != state:
                folder = next(each for each in self.folders if path.is_relative_to(each))
                try:
                    self.s3.upload(path, self.bucket, self.prefix + path.relative_to(folder).as_posix())
                except FileNotFoundError:
                    continue  # replaced between the two looks: the next one takes it
                self.seen[path] = state

    def _files(self) -> Iterable[tuple[Path, tuple[int, int]]]:
        for folder in self.folders:
            for path in sorted(folder.rglob("*")):
                try:
                    if path.is_file() and not path.name.endswith(".tmp"):
                        stat = path.stat()
                        yield path, (stat.st_mtime_ns, stat.st_size)
                except FileNotFoundError:
                    continue


def archive(folders: Iterable[Path]) -> bytes:
    """A tar.gz of what is in the folders, merged."""
    buffer = io.BytesIO()
    # Weights hardly compress: a low level saves seconds of a billed job.
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for path, name in merged(folders):
            tar.add(path, arcname=name, recursive=False)
    return buffer.getvalue()


def merged(folders: Iterable[Path]) -> Iterable[tuple[Path, str]]:
    """Each file of the folders and its path there; of equal paths the first folder's."""
    seen = set()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and name not in seen:
                seen.add(name)
                yield path, name
