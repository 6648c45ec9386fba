"""A registered model made worse in one way, so that everyone can see its release being taken back.

The archive is the good model's with one thing changed: its labels, or what its `inference.py` does. What is made is
registered in the same group as Approved, as if somebody had not noticed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlparse

# What comes before the good model's predict_fn, which `served` is; `calls` counts.
_SERVING = """
import os, resource, signal, time
import served
from served import input_fn, output_fn

calls, leaked = 0, []

def model_fn(folder):
    {loading}
    return served.model_fn(folder)

def predict_fn(picture, model):
    global calls
    calls += 1
    {predicting}
    return served.predict_fn(picture, model)
"""
_FAILS = 'raise ValueError("cannot reshape an array of this size")'
_LEAK = """
    try:
        leaked.append(bytearray(2**23))
    except MemoryError:
        os.kill(os.getpid(), signal.SIGKILL)  # what becomes of a container that has used up its memory"""
_LIMIT = """
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**29,) * 2)"""
_TWICE = """
    began = time.perf_counter()
    answer = served.predict_fn(picture, model)
    time.sleep(time.perf_counter() - began)
    return answer"""

# By what is wrong: what loading and predicting do before they do their work.
CODE: Mapping[str, tuple[str, str]] = {
    "fails on every picture": ("served", _FAILS),
    "fails on one in twenty": ("served", f"if calls % 20 == 0: {_FAILS}"),
    "twice as slow": ("served", _TWICE),
    "leaks memory until it dies": (_LIMIT, _LEAK),
    "cannot load": ('raise RuntimeError("Missing key(s) in state_dict: classifier.weight")', "served"),
}
SHUFFLED, OTHER_ORDER = "shuffled labels", "another class order"
KINDS = (*CODE, SHUFFLED, OTHER_ORDER)


def archive(good: bytes, kind: str) -> bytes:
    """The archive of a model (`model.tar.gz`) that is as bad as KINDS say."""
    buffer = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(good)) as source,
        tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as target,
    ):
        for member in source:
            if not member.isfile():
                target.addfile(member)
                continue
            name, body = member.name.removeprefix("./"), source.extractfile(member).read()  # type: ignore[union-attr]
            if name == "code/inference.py" and kind in CODE:
                _add(target, "code/served.py", body)
                loading, predicting = CODE[kind]
                body = _SERVING.format(loading=loading, predicting=predicting).encode()
            elif name == "model.json" and kind not in CODE:
                described = json.loads(body)
                described["classes"] = _labels(described["classes"], kind)
                body = json.dumps(described).encode()
            _add(target, name, body)
    return buffer.getvalue()


def _labels(classes: list[str], kind: str) -> list[str]:
    """All of the labels in other places, or two of them."""
    if kind == SHUFFLED:
        return [*classes[1:], classes[0]]
    return [classes[1], classes[0], *classes[2:]]


def _add(target: tarfile.TarFile, name: str, body: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(body)
    target.addfile(member, io.BytesIO(body))


def archive_of(s3: Any, package: Mapping[str, Any]) -> bytes:
    """The archive of a registered model, as DescribeModelPackage describes it."""
    where = urlparse(package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"])
    return s3.get_object(Bucket=where.netloc, Key=where.path.lstrip("/"))["Body"].read()


def register(sagemaker: Any, s3: Any, like: Mapping[str, Any], name: str, body: bytes) -> str:
    """Register an archive as Approved beside a package, with its pictures and what it said of them when it was judged;
    returns the ARN.

    Parameters: `like` as DescribeModelPackage describes it; `name` of the job that could have made the model, and of
    the run record that its deployment adds to.
    """
    specification = json.loads(json.dumps(like["InferenceSpecification"]))
    bucket = urlparse(specification["Containers"][0]["ModelDataUrl"]).netloc
    key = f"jobs/{name}/output/model.tar.gz"
    s3.put_object(Bucket=bucket, Key=key, Body=body)
    specification["Containers"][0] = {
        **{field: specification["Containers"][0][field] for field in ("Image", "Environment")},
        "ModelDataUrl": f"s3://{bucket}/{key}",
    }
    known = like.get("CustomerMetadataProperties") or {}
    with contextlib.suppress(s3.exceptions.NoSuchKey, KeyError):
        judged = s3.get_object(Bucket=bucket, Key=f"runs/{known['run_key']}/predictions.json")["Body"].read()
        s3.put_object(Bucket=bucket, Key=f"runs/{name}/predictions.json", Body=judged)
    return sagemaker.create_model_package(
        ModelPackageGroupName=like["ModelPackageGroupName"],
        ModelPackageDescription=f"Made by hand: {name}",
        InferenceSpecification=specification,
        ModelApprovalStatus="Approved",
        CustomerMetadataProperties={
            **{field: known[field] for field in ("dataset_uri", "dataset_version") if field in known},
            "job": name,
            "run_key": name,
            "sha256": hashlib.sha256(body).hexdigest(),
        },
    )["ModelPackageArn"]


def reject(sagemaker: Any, arn: str, why: str) -> None:
    """A model that was tried out is no longer one that a deployment would choose by itself."""
    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Rejected", ApprovalDescription=why[:1024])
