"""Nothing on the way of a prediction reads a pickle, which could hold any code."""

from __future__ import annotations

import ast
import io
import pickle
from pathlib import Path

import artifacts
import inference
import pytest
import torch
from errors import UserError
from PIL import Image

SCRIPTS = Path(inference.__file__).resolve().parent
HANDLER = SCRIPTS.parent / "lambda/handler.py"
READS_PICKLES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
# load of torch and NumPy; torch.load with weights_only=True too: what serves has no need of it.
CALLS = {("torch", "load"), ("np", "load"), ("numpy", "load"), ("pd", "read_pickle"), ("torch", "hub")}


def imported(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{each.name}" for each in node.names} | {str(node.module)}
    return found


def on_the_way(first: Path) -> set[Path]:
    """A script, and those of ours that it imports, and those that they import."""
    files, waiting = set(), [first]
    while waiting:
        file = waiting.pop()
        files.add(file)
        for name in imported(file):
            for other in (SCRIPTS / f"{name.replace('.', '/')}.py", SCRIPTS / name.replace(".", "/") / "__init__.py"):
                if other.is_file() and other not in files:
                    waiting.append(other)
    return files


def test_no_script_that_serves_imports_or_calls_what_reads_pickles():
    files = on_the_way(SCRIPTS / "inference.py")
    assert {"artifacts.py", "decoding.py", "inference.py", "vendored.py"} <= {file.name for file in files}
    for file in (*files, HANDLER):
        assert {name.partition(".")[0] for name in imported(file)} & READS_PICKLES == set(), file
        calls = {
            (node.value.id, node.attr)
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        }
        assert calls & CALLS == set(), file


# torchvision, where the second is from, takes a second to import.
@pytest.fixture(params=["efficientnet_lite0", pytest.param("resnet18", marks=pytest.mark.slow)])
def artifact(tmp_path, request):
    classes = ["001.Ash", "002.Elm"]
    classifier = artifacts.Classifier(request.param, "linear", len(classes), 64)
    description = artifacts.Description(request.param, "linear", classes, 64, [0.5] * 3, [0.5] * 3, {})
    artifacts.save(tmp_path / "model", classifier, description)
    return tmp_path / "model"


def test_a_picture_is_predicted_without_one(artifact, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a pickle was read")

    for module, name in ((pickle, "load"), (pickle, "loads"), (pickle, "Unpickler"), (torch, "load")):
        monkeypatch.setattr(module, name, refuse)
    buffer = io.BytesIO()
    Image.new("RGB", (80, 60)).save(buffer, "PNG")
    model = inference.model_fn(str(artifact))
    assert inference.predict_fn(inference.input_fn(buffer.getvalue(), "image/png"), model)


class Evil:
    """What does as it likes when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_weights_that_are_a_pickle_are_refused_and_not_run(artifact, tmp_path):
    torch.save({"head": Evil(tmp_path / "run")}, artifact / artifacts.WEIGHTS)
    torch.load(io.BytesIO((artifact / artifacts.WEIGHTS).read_bytes()), weights_only=False)
    assert (tmp_path / "run").exists(), "it would run if it was unpickled"
    (tmp_path / "run").unlink()
    with pytest.raises(UserError, match=r"does not hold this model's weights"):
        inference.model_fn(str(artifact))
    assert not (tmp_path / "run").exists()
