"""Whether the models that are registered to be taken back are as bad as they are called."""

from __future__ import annotations

import io
import json
import sys
import tarfile
import types

import pytest

from tools import bad_models

GOOD = {
    "model.json": json.dumps({"classes": ["a", "b", "c"], "image_size": 224}),
    "model.safetensors": "weights",
    "code/inference.py": "the good one's",
}


def good() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, text in GOOD.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def files(kind: str) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(bad_models.archive(good(), kind))) as archive:
        return {member.name: archive.extractfile(member).read().decode() for member in archive}


@pytest.mark.parametrize("kind", bad_models.KINDS)
def test_only_what_is_bad_differs_from_the_good_model(kind):
    found = files(kind)
    served = found.pop("code/served.py", None)
    assert found["model.safetensors"] == GOOD["model.safetensors"]
    assert (found["model.json"] == GOOD["model.json"]) == (kind in bad_models.CODE)
    assert (served or found["code/inference.py"]) == GOOD["code/inference.py"]


def test_labels_are_others_and_still_all_of_them():
    shuffled, swapped = (
        json.loads(files(kind)["model.json"])["classes"] for kind in (bad_models.SHUFFLED, bad_models.OTHER_ORDER)
    )
    assert shuffled == ["b", "c", "a"]
    assert swapped == ["b", "a", "c"]


@pytest.fixture
def loaded(monkeypatch):
    """`loaded(kind)`: the serving code of a bad model, around a good one that answers with the picture itself."""

    def loaded(kind: str) -> types.ModuleType:
        served = types.ModuleType("served")
        served.model_fn = lambda folder: "model"
        served.predict_fn = lambda picture, model: picture
        served.input_fn = served.output_fn = None
        monkeypatch.setitem(sys.modules, "served", served)
        module = types.ModuleType("inference")
        exec(files(kind)["code/inference.py"], module.__dict__)
        return module

    return loaded


def failures(module: types.ModuleType, calls: int) -> int:
    failed = 0
    for number in range(calls):
        try:
            assert module.predict_fn(number, "model") == number
        except ValueError:
            failed += 1
    return failed


@pytest.mark.parametrize(
    ("kind", "failed"), [("fails on every picture", 40), ("fails on one in twenty", 2), ("twice as slow", 0)]
)
def test_so_many_pictures_fail(loaded, kind, failed):
    module = loaded(kind)
    assert module.model_fn("folder") == "model"
    assert failures(module, 40) == failed


def test_one_cannot_be_loaded(loaded):
    with pytest.raises(RuntimeError, match="Missing key"):
        loaded("cannot load").model_fn("folder")
