"""The data set's folder in the bucket made the same as its source: only what changed is sent.

What is there already is known from one listing and one small object, never from a request per file. An object whose
ETag is the MD5 of the local file is that file: S3 says so for everything sent in one piece without KMS. For the rest
(buckets encrypted with KMS, objects copied on S3) `.manifest.json`, which a sync writes when it is done, remembers for
each path the source's checksum and the ETag that S3 gave the object; it counts only while the object still has that
ETag, so it can be lost, old or wrong without harm. A sync that is killed loses nothing: the next one sends what is
missing.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from musher.dataset import layout
from musher.dataset.layout import Layout
from musher.dataset.listing import SPLITS, Item, Listing, find_root, list_folder, list_prefix, version
from musher.dataset.source import Limits, S3Prefix, resolve
from musher.errors import DatasetError, TransferError

MANIFEST = ".manifest.json"

_BATCH = 1000  # the most keys that one DeleteObjects takes


@dataclass(frozen=True)
class SyncResult:
    """What a sync did and what the data set now is; plain values, fit for XCom and the run record.

    `version`, `classes` and `images` (files per split) describe what lies in the bucket; `sent`, `skipped`, `deleted`
    count files and `bytes` what was sent; `unreadable` names files that are no images and were left out, `ignored`
    files outside any class folder.
    """

    source: str
    version: str
    classes: list[str]
    images: dict[str, int]
    sent: int
    skipped: int
    deleted: int
    bytes: int
    seconds: float
    unreadable: list[str]
    ignored: list[str]

    @property
    def line(self) -> str:
        """The result in one line."""
        text = (
            f"sent {self.sent} ({self.bytes / 1e6:.1f} MB), skipped {self.skipped}, deleted {self.deleted} "
            f"in {self.seconds:.1f} s; version {self.version}: {len(self.classes)} classes, "
            + ", ".join(f"{split} {count}" for split, count in self.images.items())
        )
        if self.unreadable:
            text += f"; {len(self.unreadable)} left out as no images: {layout.names(self.unreadable)}"
        return text

    def as_dict(self) -> dict[str, Any]:
        """All of it as a dict for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Target:
    client: Any
    bucket: str
    prefix: str

    def listing(self) -> dict[str, Item]:
        """What lies in the bucket now, below the three splits; the checksums are ETags."""
        found = list_prefix(self.client, self.bucket, self.prefix)
        return {item.path: item for item in found.items if item.path.split("/")[0] in SPLITS}

    def manifest(self) -> dict[str, dict[str, Any]]:
        """Path -> {checksum, etag} as the last sync left it; empty when it is missing or no longer readable."""
        try:
            body = self.client.get_object(Bucket=self.bucket, Key=self.prefix + MANIFEST)["Body"].read()
            files = json.loads(body)["files"]
        except self.client.exceptions.NoSuchKey:
            return {}
        except (ValueError, KeyError, TypeError):
            return {}
        return files if isinstance(files, dict) else {}

    def write_manifest(self, files: dict[str, dict[str, Any]]) -> None:
        body = json.dumps({"files": files}, sort_keys=True, separators=(",", ":")).encode()
        self.client.put_object(
            Bucket=self.bucket, Key=self.prefix + MANIFEST, Body=body, ContentType="application/json"
        )

    def delete(self, paths: list[str]) -> None:
        for start in range(0, len(paths), _BATCH):
            keys = [{"Key": self.prefix + path} for path in paths[start : start + _BATCH]]
            answer = self.client.delete_objects(Bucket=self.bucket, Delete={"Objects": keys, "Quiet": True})
            for problem in answer.get("Errors", ()):
                raise TransferError(f"{problem['Key']} cannot be deleted: {problem['Code']}, {problem['Message']}.")


def existing(client: Any, bucket: str, name: str) -> SyncResult:
    """The data set that is in the bucket already, checked and versioned; nothing is sent.

    Raises DatasetError when it is missing or laid out wrongly.
    """
    started = time.monotonic()
    target = _Target(client, bucket, f"dataset/{name}/")
    there = target.listing()
    if not there:
        raise DatasetError(
            f"dataset is empty, and there is no data set at s3://{bucket}/dataset/{name}/ either: "
            "give a folder, an archive, an address or an s3:// prefix as dataset."
        )
    found = _checked(Listing.of(there.values()), f"s3://{bucket}/dataset/{name}/")
    items = _as_sources(there, target.manifest())
    return SyncResult(
        source=f"s3://{bucket}/dataset/{name}/",
        version=version(items),
        classes=list(found.classes),
        images=found.images,
        sent=0,
        skipped=len(there),
        deleted=0,
        bytes=0,
        seconds=round(time.monotonic() - started, 3),
        unreadable=[],
        ignored=list(found.ignored),
    )


def sync(
    client: Any,
    source: Path | S3Prefix,
    *,
    bucket: str,
    name: str,
    delete_removed: bool = False,
    max_unreadable_share: float = 0.05,
    workers: int = 16,
    shown: str = "",
) -> SyncResult:
    """Make `s3://<bucket>/dataset/<name>/` hold what `source` holds, after the layout of both together was checked.

    Parameters: `client` a boto3 S3 client; `source` from `resolve`;
    `delete_removed` deletes objects that the source lacks, which are otherwise kept and become part of the data set;
    `max_unreadable_share` the share of files that may turn out to be no image, which are named and left out; `shown`
    how the result names the source; `workers` threads, as far as the client's connection pool reaches.
    Raises DatasetError, and nothing was uploaded; or TransferError, and what was sent before is kept.
    """
    started = time.monotonic()
    workers = min(workers, client.meta.config.max_pool_connections)
    target = _Target(client, bucket, f"dataset/{name}/")
    origin = _S3Origin(client, source, workers) if isinstance(source, S3Prefix) else _FolderOrigin(source, workers)
    shown = shown or str(source)

    given = _checked(origin.listing, shown)
    there, manifest = target.listing(), target.manifest()
    unchanged = {item.path for item in given.items if _same(item, there.get(item.path), manifest.get(item.path))}
    changed = [item for item in given.items if item.path not in unchanged]
    unreadable = origin.no_images([item.path for item in changed])
    _blame(shown, lambda: layout.check_unreadable(unreadable, len(given.items), max_unreadable_share))

    left_out = set(unreadable)
    wanted = {item.path: item for item in given.items if item.path not in left_out}
    removed = sorted(there.keys() - wanted.keys()) if delete_removed else []
    kept = [] if delete_removed else [item for path, item in there.items() if path not in wanted]
    _checked(Listing.of(wanted.values(), origin.listing.folders), f"{shown}, without the files that are no images")
    final = _checked(
        Listing.of([*wanted.values(), *kept]),
        f"{shown} together with what is in s3://{bucket}/{target.prefix} already "
        "(delete it with delete_removed, or choose another dataset_name)",
    )

    to_send = [item for item in changed if item.path in wanted]
    etags = _in_parallel(lambda item: origin.send(item, target), to_send, workers)
    files = {path: {"checksum": wanted[path].checksum, "etag": there[path].checksum} for path in unchanged}
    files |= {item.path: {"checksum": item.checksum, "etag": etag} for item, etag in zip(to_send, etags, strict=True)}
    files |= {item.path: manifest[item.path] for item in kept if item.path in manifest}
    if files != manifest:
        target.write_manifest(files)
    target.delete(removed)

    items = [*wanted.values(), *_as_sources({item.path: item for item in kept}, manifest)]
    return SyncResult(
        source=shown,
        version=version(items),
        classes=list(final.classes),
        images=final.images,
        sent=len(to_send),
        skipped=len(unchanged),
        deleted=len(removed),
        bytes=sum(item.size for item in to_send),
        seconds=round(time.monotonic() - started, 3),
        unreadable=unreadable,
        ignored=list(given.ignored),
    )


def sync_dataset(
    client: Any, dataset: str, *, bucket: str, name: str, limits: Limits = Limits(), **options: Any
) -> SyncResult:
    """What a person typed as `dataset`, brought into the bucket; empty: what is there already, checked.

    `options` as for `sync`. Archives are unpacked in a temporary folder, which is removed again.
    """
    if not dataset:
        return existing(client, bucket, name)
    with tempfile.TemporaryDirectory(prefix="musher-dataset-") as workspace:
        source = resolve(dataset, Path(workspace), limits)
        return sync(client, source, bucket=bucket, name=name, shown=dataset, **options)


class _FolderOrigin:
    """Pictures in a local folder."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.workers = workers
        try:
            self.root = folder / find_root(list_folder(folder, checksums=False))
            self.listing = list_folder(self.root, workers=workers)
        except OSError as error:
            raise DatasetError(f"{error.filename} cannot be read: {error.strerror}. Nothing was uploaded.") from None

    def no_images(self, paths: list[str]) -> list[str]:
        return layout.no_images_in_folder(self.root, paths, self.workers)

    def send(self, item: Item, target: _Target) -> str:
        body = (self.root / item.path).read_bytes()  # a picture: small enough, and checked as it is sent
        if hashlib.md5(body, usedforsecurity=False).hexdigest() != item.checksum:
            raise TransferError(f"{item.path} changed while it was about to be sent: sync again.")
        answer = target.client.put_object(Bucket=target.bucket, Key=target.prefix + item.path, Body=body)
        return answer["ETag"].strip('"')


class _S3Origin:
    """Pictures that are on S3 already: copied there, without passing through this machine."""

    def __init__(self, client: Any, source: S3Prefix, workers: int) -> None:
        everything = list_prefix(client, source.bucket, source.prefix)
        if not everything.items:
            raise DatasetError(f"dataset is '{source}', and there is nothing under this prefix.")
        root = find_root(everything)
        self.client = client
        self.workers = workers
        self.bucket = source.bucket
        self.prefix = source.prefix + (root + "/" if root else "")
        self.listing = everything.below(root)

    def no_images(self, paths: list[str]) -> list[str]:
        return layout.no_images_on_s3(self.client, self.bucket, self.prefix, paths, self.workers)

    def send(self, item: Item, target: _Target) -> str:
        answer = target.client.copy_object(
            Bucket=target.bucket,
            Key=target.prefix + item.path,
            CopySource={"Bucket": self.bucket, "Key": self.prefix + item.path},
            CopySourceIfMatch=item.checksum,
        )
        return answer["CopyObjectResult"]["ETag"].strip('"')


def _same(item: Item, there: Item | None, remembered: dict[str, Any] | None) -> bool:
    """Whether the object in the bucket is the source's file."""
    if there is None or there.size != item.size:
        return False
    if there.checksum == item.checksum:
        return True
    return remembered == {"checksum": item.checksum, "etag": there.checksum}


def _as_sources(there: dict[str, Item], manifest: dict[str, dict[str, Any]]) -> list[Item]:
    """What is in the bucket with the checksums that its sources had, where these are still known."""
    items = []
    for item in there.values():
        remembered = manifest.get(item.path)
        known = isinstance(remembered, dict) and remembered.get("etag") == item.checksum
        items.append(Item(item.path, item.size, remembered["checksum"] if known else item.checksum))
    return items


def _blame(shown: str, check: Callable[[], Any]) -> Any:
    try:
        return check()
    except DatasetError as error:
        raise DatasetError(f"{shown}: {error} Nothing was uploaded.") from None


def _checked(listing: Listing, shown: str) -> Layout:
    return _blame(shown, lambda: layout.check(listing))


def _in_parallel(send: Callable[[Item], str], items: Iterable[Item], workers: int) -> list[str]:
    """Send all items, several at a time; the first failure stops the others and is raised."""
    from botocore.exceptions import BotoCoreError, ClientError

    items = list(items)
    pool = ThreadPoolExecutor(workers)
    try:
        futures = [pool.submit(send, item) for item in items]
        wait(futures, return_when=FIRST_EXCEPTION)
    finally:  # also when the task is killed meanwhile: begin nothing new
        pool.shutdown(wait=True, cancel_futures=True)
    for item, future in zip(items, futures, strict=True):
        if not future.cancelled() and (problem := future.exception()):
            if isinstance(problem, (BotoCoreError, ClientError, OSError)):
                raise TransferError(
                    f"{item.path} cannot be sent: {str(problem).rstrip('.')}; "
                    "what was sent before is kept and not sent again."
                ) from problem
            raise problem
    return [future.result() for future in futures]
