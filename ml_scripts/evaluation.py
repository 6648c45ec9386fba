"""What is said of a model on a test set: loss, accuracy, confusion, and the pictures it got most wrong."""

import base64
import io
import json
from pathlib import Path

import torch
from data import Split
from decoding import UnreadableImage, open_image
from features import Unreadable
from torch.nn.functional import cross_entropy

WORST = 12
THUMBNAIL_PIXELS = 96


def evaluate(logits: torch.Tensor, split: Split, classes: list[str], unreadable: list[Unreadable]) -> dict[str, object]:
    """The content of ``evaluation.json``.

    Args:
        logits: (pictures, classes), in the split's order.
        unreadable: files left out, of every split.

    Returns:
        accuracy and loss as numbers; ``confusion[true][predicted]`` as counts; ``per_class``; ``worst``, up to 12 files
        whose true label was given the lowest probability, with a thumbnail as base64 JPEG.
    """
    logits = logits.detach().float().cpu()
    labels = torch.tensor(split.labels)
    predicted = logits.argmax(1)
    confusion = torch.zeros(len(classes), len(classes), dtype=torch.long)
    confusion.index_put_((labels, predicted), torch.ones(len(labels), dtype=torch.long), accumulate=True)
    truth = logits.softmax(1)[torch.arange(len(labels)), labels]
    per_class = [
        {"label": label, "images": int(row.sum()), "accuracy": float(row[index] / row.sum())}
        for index, (label, row) in enumerate(zip(classes, confusion, strict=True))
    ]
    worst = [
        {
            "file": split.named(index),
            "label": classes[split.labels[index]],
            "predicted": classes[int(predicted[index])],
            "probability": float(truth[index]),
            "thumbnail": thumbnail(split.root / split.files[index]),
        }
        for index in truth.argsort()[:WORST].tolist()
    ]
    return {
        "accuracy": float((predicted == labels).float().mean()),
        "loss": float(cross_entropy(logits, labels)),
        "images": len(labels),
        "classes": classes,
        "confusion": confusion.tolist(),
        "per_class": per_class,
        "worst": worst,
        "unreadable": [{"file": item.file, "reason": item.reason} for item in unreadable],
    }


def predictions(logits: torch.Tensor, split: Split, classes: list[str], weights: str) -> dict[str, object]:
    """The content of ``predictions.json``: what the model said of each picture, to hold what serves against it.

    Args:
        logits: (pictures, classes), in the split's order.
        weights: what the model is told by (``artifacts.weights_digest``).

    Returns:
        ``pictures`` as [file below the test folder, its bytes, true class, predicted class, probability of that one];
        classes are positions in ``classes``. The bytes tell a picture that somebody replaced since.
    """
    probabilities, predicted = logits.detach().float().cpu().softmax(1).max(1)
    rows = zip(split.files, split.labels, predicted.tolist(), probabilities.tolist(), strict=True)
    pictures = [
        [file, _size(split.root / file), label, said, round(probability, 6)] for file, label, said, probability in rows
    ]
    return {"weights": weights, "classes": classes, "pictures": pictures}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # gone since it was read
        return 0


def thumbnail(path: Path) -> str:
    """The picture within 96 x 96 pixels, as base64 JPEG; empty if it cannot be read any more."""
    try:
        image = open_image(path, THUMBNAIL_PIXELS)
    except UnreadableImage:
        return ""
    image.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return base64.b64encode(buffer.getvalue()).decode()


def announce(evaluation: dict) -> None:
    """Print the lines that metric definitions read."""
    images, accuracy, loss = evaluation["images"], evaluation["accuracy"], evaluation["loss"]
    print(f"Test set: Average loss: {loss:.4f}, Accuracy: {round(accuracy * images)}/{images} ({accuracy:.2%})")
    print(f"test_loss={loss:.4f} test_accuracy={accuracy:.4f}", flush=True)


def announce_unreadable(unreadable: list[Unreadable]) -> None:
    """Print one line for each file that was left out."""
    for item in unreadable:
        print(f"unreadable image: {item.file} ({item.reason})", flush=True)


def write_json(path: Path, content: object) -> None:
    """Write ``content`` as indented JSON, creating the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
