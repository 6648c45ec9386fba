"""Serve the trained classifier: the four functions that SageMaker's inference toolkit calls.

Takes a picture (``CONTENT_TYPES``; what is in it decides) and answers with JSON: the five most probable labels, or with
``Accept: application/json; format=logits`` the plain logits ``[[...]]``. Runs on torch 2.6 and later.

Beside the labels an answer has ``picture``: ``width`` and ``height`` of the picture upright; ``crop``, which is what of
it the network was shown (left, top, right, bottom in its pixels); and ``input``, the side in pixels that this became.

Every answer says which model gave it, in its content type: ``application/json; weights=<digest>; model=<name>``. The
digest is that of the weights (``artifacts.weights_digest``), the name what the container's environment has as
``MODEL_NAME``; without one there is no ``model``.
"""

import io
import json
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import vendored

vendored.add_to_path()

import artifacts  # noqa: E402
import decoding  # noqa: E402
import images  # noqa: E402
import precision as precision_module  # noqa: E402
import torch  # noqa: E402

try:
    from sagemaker_inference.errors import BaseInferenceToolkitError
except ImportError:  # by hand, without the toolkit

    class BaseInferenceToolkitError(Exception):
        """The toolkit's error: it becomes the response's status and body."""

        def __init__(self, status_code: int, message: str, phrase: str):
            super().__init__(status_code, message, phrase)
            self.status_code, self.message, self.phrase = status_code, message, phrase


CONTENT_TYPES = (
    "image/jpeg",
    "image/png",
    "image/gif",
    "image/bmp",
    "image/tiff",
    "image/webp",
    "application/x-image",
)
TOP = 5
# SageMaker API reference, CreateModel: what a model's name is made of. Anything else has no place in a header.
MODEL_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
BAD_REQUEST, NOT_ACCEPTABLE, UNSUPPORTED_MEDIA_TYPE = 400, 406, 415


class RequestError(BaseInferenceToolkitError):
    """The request is at fault; ``sentence`` says how."""

    def __init__(self, status: int, sentence: str):
        super().__init__(status, sentence, sentence)

    def __str__(self) -> str:
        return self.message


class Model:
    """A loaded artifact, on the device it predicts on; ``about`` is what an answer says of it."""

    def __init__(self, folder: Path):
        classifier, self.description = artifacts.load(folder)
        self.about = {
            "backbone": self.description.backbone,
            "classes": len(self.description.classes),
            "weights": artifacts.weights_digest(folder),
        }
        name = os.environ.get("MODEL_NAME", "")
        if MODEL_NAME.fullmatch(name):
            self.about["name"] = name
        self.precision = precision_module.choose()
        self.classifier = self.precision.place(classifier)
        self.normalise = images.Normalisation(
            tuple(self.description.mean), tuple(self.description.std), self.precision.device
        )

    @torch.no_grad()
    def logits(self, image: images.Image.Image) -> list[float]:
        """One picture's logits, one per class."""
        pixels = images.central_view(image, self.description.image_size)
        with self.precision.context():
            return self.classifier(self.normalise(pixels[None]))[0].float().cpu().tolist()


def model_fn(model_dir: str) -> Model:
    """Load the artifact in ``model_dir``.

    The first prediction, from a JPEG to an answer, is made here: it takes four times as long as the ones after it.
    """
    precision_module.keep_freed_memory()
    model = Model(Path(model_dir))
    size = model.description.image_size
    picture = io.BytesIO()
    images.Image.new("RGB", (2 * size, 2 * size)).save(picture, "JPEG")
    output_fn(predict_fn(picture.getvalue(), model), "application/json")
    return model


def input_fn(body: bytes, content_type: str) -> bytes:
    """Check the content type; the picture is decoded in :func:`predict_fn`, which knows the size it needs.

    Raises:
        RequestError: 415 for another content type, 400 for an empty body.
    """
    kind = (content_type or "").split(";")[0].strip().lower()
    if kind not in CONTENT_TYPES:
        raise RequestError(
            UNSUPPORTED_MEDIA_TYPE, f"Content-Type is {content_type!r}; it must be one of {', '.join(CONTENT_TYPES)}"
        )
    if not body:
        raise RequestError(BAD_REQUEST, "the body is empty; it must be the bytes of a picture")
    return bytes(body)


def predict_fn(picture: bytes, model: Model) -> dict[str, object]:
    """Logits and what :func:`output_fn` needs to put them into words.

    Raises:
        RequestError: 400 if the bytes are no picture.
    """
    try:
        size = model.description.image_size
        image, (width, height) = decoding.open_sized(picture, images.decode_size(size, 0))
    except decoding.UnreadableImage as error:
        raise RequestError(BAD_REQUEST, f"the body ({len(picture)} bytes) cannot be decoded: {error}") from None
    seen = {"width": width, "height": height, "crop": list(images.central_box(width, height)), "input": size}
    return {
        "logits": model.logits(image),
        "classes": model.description.classes,
        "model": model.about,
        "picture": seen,
    }


def output_fn(prediction: dict[str, object], accept: str) -> tuple[str, str]:
    """The response's body and content type.

    Raises:
        RequestError: 406 for an Accept other than JSON.
    """
    kind, _, parameters = (accept or "application/json").partition(";")
    if kind.strip().lower() not in ("application/json", "application/*", "*/*"):
        raise RequestError(NOT_ACCEPTABLE, f"Accept is {accept!r}; it must be application/json")
    wanted = dict(item.strip().lower().partition("=")[::2] for item in parameters.split(";") if item.strip())
    model = prediction["model"]
    content_type = f"application/json; weights={model['weights']}"
    if "name" in model:
        content_type += f"; model={model['name']}"
    if wanted.get("format", "").strip('"') == "logits":
        return json.dumps([prediction["logits"]]), content_type
    if "format" in wanted:
        raise RequestError(NOT_ACCEPTABLE, f"Accept's format is {wanted['format']!r}; it must be logits or left out")
    probabilities = torch.tensor(prediction["logits"]).softmax(0)
    values, indices = probabilities.topk(min(TOP, len(probabilities)))
    classes = prediction["classes"]
    predictions = [
        {"label": classes[index], "probability": value}
        for index, value in zip(indices.tolist(), values.tolist(), strict=True)
    ]
    return json.dumps({"predictions": predictions, "model": model, "picture": prediction["picture"]}), content_type
