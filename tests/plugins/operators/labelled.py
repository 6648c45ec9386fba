"""Labelled test pictures, and a model that says of each what its table says; of one that is not in it nothing good."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from musher import record
from PIL import Image

from tests.local_aws.serving import archive

if TYPE_CHECKING:
    from tests.plugins.operators.conftest import Project

WEIGHTS = "0123456789abcdef"
MODEL = """
import hashlib, json, os

def model_fn(model_dir):
    return json.load(open(os.path.join(model_dir, "name.txt")))

def input_fn(body, content_type):
    return bytes(body)

def predict_fn(body, model):
    return {"predictions": model[hashlib.sha256(body).hexdigest()]}

def output_fn(prediction, accept):
    return json.dumps(prediction), "application/json; weights=0123456789abcdef; model=" + os.environ["MODEL_NAME"]
"""


def picture(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 12), (shade, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def pictures(each: int) -> dict[str, bytes]:
    """So many different ones of the classes a and b, by their files."""
    return {f"{label}/{number}.png": picture(100 * (label == "b") + number) for label in "ab" for number in range(each)}


def judged_right(found: Mapping[str, bytes]) -> record.Predictions:
    """The evaluation of a model that told every picture right, with a probability of 0.9."""
    told = [
        record.JudgedPicture(file, len(data), "ab".index(file[0]), "ab".index(file[0]), 0.9)
        for file, data in found.items()
    ]
    return record.Predictions(weights=WEIGHTS, classes=["a", "b"], pictures=told)


def put(project: Project, found: Mapping[str, bytes], folder: str = "pictures") -> str:
    """Put them where a data set has its test pictures; the data set's URI."""
    for file, data in found.items():
        project.put(f"{folder}/test/{file}", data)
    return f"s3://{project.environment.bucket}/{project.name}/{folder}/"


def model_archive(said: Mapping[bytes, Any]) -> bytes:
    """A model that answers each picture with its predictions."""
    return archive(code=MODEL, name=json.dumps({hashlib.sha256(data).hexdigest(): each for data, each in said.items()}))
