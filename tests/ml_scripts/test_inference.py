"""Serving: an artifact that a job left, through the four functions that SageMaker's toolkit calls."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys

import artifacts
import inference
import pytest
import torch
from errors import UserError
from PIL import Image
from sagemaker_inference.errors import BaseInferenceToolkitError


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """An artifact of random weights with seven classes."""
    folder = tmp_path_factory.mktemp("artifact")
    torch.manual_seed(0)
    classes = [f"{number:03}.Breed" for number in range(1, 8)]
    classifier = artifacts.Classifier("efficientnet_lite0", "hidden", len(classes), 64)
    with torch.no_grad():
        classifier.head[2].bias.copy_(torch.arange(7.0))
    description = artifacts.Description("efficientnet_lite0", "hidden", classes, 64, [0.5] * 3, [0.5] * 3, {})
    artifacts.save(folder, classifier, description)
    return folder


@pytest.fixture(scope="module")
def model(artifact):
    return inference.model_fn(str(artifact))


def picture(kind="JPEG"):
    buffer = io.BytesIO()
    Image.effect_noise((90, 70), 60).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


def ask(model, body, content_type="image/jpeg", accept="application/json"):
    prediction = inference.predict_fn(inference.input_fn(body, content_type), model)
    content, kind = inference.output_fn(prediction, accept)
    assert kind == f"application/json; weights={model.about['weights']}"
    return json.loads(content)


@pytest.mark.parametrize(
    ("kind", "content_type"),
    [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("PNG", "application/x-image"), ("JPEG", "Image/JPEG; q=1"),
     ("GIF", "image/gif"), ("BMP", "image/bmp"), ("TIFF", "image/tiff"), ("WEBP", "image/webp")],
)  # fmt: skip
def test_a_picture_gets_its_five_most_probable_labels(model, kind, content_type):
    answer = ask(model, picture(kind), content_type)

    assert answer["model"] == {"backbone": "efficientnet_lite0", "classes": 7, "weights": model.about["weights"]}
    labels = [item["label"] for item in answer["predictions"]]
    probabilities = [item["probability"] for item in answer["predictions"]]
    assert len(set(labels)) == 5
    assert labels[0] == "007.Breed"  # the head's bias sees to that
    assert probabilities == sorted(probabilities, reverse=True)
    assert 0 < sum(probabilities) <= 1.0001


@pytest.mark.parametrize(
    ("size", "orientation", "told"),
    [
        ((90, 70), 1, (90, 70, [10, 0, 80, 70])),
        ((71, 90), 1, (71, 90, [0, 9.5, 71, 80.5])),
        ((90, 70), 6, (70, 90, [0, 10, 70, 80])),  # lies on its side as it was stored
        ((1001, 700), 6, (700, 1001, [0, 150.5, 700, 850.5])),  # is decoded at an eighth of its size
    ],
)
def test_an_answer_says_what_of_the_picture_the_network_was_shown(model, size, orientation, told):
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.new("RGB", size).save(buffer, "JPEG", exif=exif)
    width, height, crop = told
    seen = {"width": width, "height": height, "crop": crop, "input": 64}
    assert ask(model, buffer.getvalue())["picture"] == seen


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "Application/JSON"])
def test_json_is_what_everybody_gets(model, accept):
    assert "predictions" in ask(model, picture(), accept=accept)


@pytest.mark.parametrize("accept", ["application/json; format=logits", "application/json;format=Logits"])
def test_plain_logits_on_request(model, accept):
    body = picture()
    logits = ask(model, body, accept=accept)

    assert len(logits) == 1
    assert len(logits[0]) == 7
    probability = torch.tensor(logits[0]).softmax(0).max().item()
    assert ask(model, body)["predictions"][0]["probability"] == pytest.approx(probability, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "said"), [("p-endpoint-1a2b", "p-endpoint-1a2b"), ("", None), ("a; b", None), ("a\r\nX-Evil: 1", None)]
)
def test_every_answer_says_whose_it_is(artifact, monkeypatch, name, said):
    # GIVEN a container whose environment names the model (SageMaker: CreateModel, PrimaryContainer.Environment)
    monkeypatch.setenv("MODEL_NAME", name)
    model = inference.model_fn(str(artifact))
    digest = hashlib.sha256((artifact / "model.safetensors").read_bytes()).hexdigest()[:16]
    prediction = inference.predict_fn(picture(), model)
    for accept in (None, "application/json; format=logits"):
        # WHEN it answers, with labels or with logits
        _, kind = inference.output_fn(prediction, accept)
        # THEN the content type says which weights gave it, and the model's name where that is one
        assert kind == f"application/json; weights={digest}" + (f"; model={said}" if said else "")
    body = json.loads(inference.output_fn(prediction, None)[0])
    assert body["model"] == {
        "backbone": "efficientnet_lite0",
        "classes": 7,
        "weights": digest,
        **({"name": said} if said else {}),
    }


@pytest.mark.parametrize(
    ("body", "content_type", "accept", "status", "sentence"),
    [
        (
            b"hello",
            "image/jpeg",
            None,
            400,
            r"the body \(5 bytes\) cannot be decoded: not a picture in one of the formats",
        ),
        (b"", "image/jpeg", None, 400, "the body is empty"),
        (picture()[:800], "image/jpeg", None, 400, "cannot be decoded: .*truncated"),
        (picture(), "text/csv", None, 415, "Content-Type is 'text/csv'; it must be one of image/jpeg, image/png"),
        (picture(), None, None, 415, "Content-Type is None"),
        (picture(), "image/jpeg", "text/csv", 406, "Accept is 'text/csv'; it must be application/json"),
        (picture(), "image/jpeg", "application/json; format=csv", 406, "Accept's format is 'csv'; it must be logits"),
    ],
)
def test_a_bad_request_is_an_error_that_the_toolkit_passes_on(model, body, content_type, accept, status, sentence):
    with pytest.raises(BaseInferenceToolkitError, match=sentence) as raised:
        ask(model, body, content_type, accept)

    assert raised.value.status_code == status


@pytest.mark.slow
def test_the_artifacts_code_is_whole(artifact, tmp_path):
    """The code folder alone answers, in a process that sees neither the scripts nor the two vendored packages."""
    copied = shutil.copytree(artifact, tmp_path / "model")
    (tmp_path / "picture.png").write_bytes(picture("PNG"))
    script = """
import importlib.abc, json, sys
from importlib.machinery import PathFinder

class NotInstalled(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("safetensors", "efficientnet_lite_pytorch"):
            return PathFinder.find_spec(name, [folder for folder in sys.path if "site-packages" not in folder])

sys.meta_path.insert(0, NotInstalled())
import inference
model = inference.model_fn(".")
body = open("../picture.png", "rb").read()
answer = inference.output_fn(inference.predict_fn(inference.input_fn(body, "image/png"), model), "application/json")
ours = ("inference", "artifacts", "decoding", "images", "safetensors", "efficientnet_lite_pytorch")
print(json.dumps({
    "answer": json.loads(answer[0]),
    "ours": [sys.modules[name].__file__ for name in ours],
    "last": sys.path[-1],
    "heavy": [name for name in ("torchvision", "scipy", "torch._dynamo") if name in sys.modules],
}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=copied,
        env=os.environ | {"PYTHONPATH": str(copied / "code"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["answer"]["predictions"][0]["label"] == "007.Breed"
    assert all(path.startswith(str(copied / "code")) for path in found["ours"])
    assert found["last"] == str(copied / "code" / "vendor")
    assert found["heavy"] == []  # each would cost an endpoint a second or more at its start


@pytest.mark.parametrize("name", ["model.json", "model.safetensors"])
def test_a_damaged_artifact_is_named(artifact, tmp_path, name):
    copied = shutil.copytree(artifact, tmp_path / "model")
    (copied / name).write_bytes((copied / name).read_bytes()[:100])

    with pytest.raises(UserError, match=name):
        inference.model_fn(str(copied))
