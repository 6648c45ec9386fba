"""The sample data set: the layout everything else expects, and the same pictures every time."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tools.sample_dataset import BREEDS, draw

SCRIPT = Path(__file__).parents[2] / "tools" / "sample_dataset.py"


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.jpg"))
    }


def test_draws_every_split_with_a_folder_per_breed(tmp_path):
    counts = draw(tmp_path, breeds=3, train=3, valid=2, test=1)

    assert counts == {"train": 9, "valid": 6, "test": 3}
    for split, each in (("train", 3), ("valid", 2), ("test", 1)):
        folders = sorted((tmp_path / split).iterdir())
        assert [folder.name for folder in folders] == [breed.name for breed in BREEDS[:3]]
        assert [len(list(folder.iterdir())) for folder in folders] == [each] * 3
    with Image.open(next((tmp_path / "train").rglob("*.jpg"))) as picture:
        assert picture.format == "JPEG"
        assert all(160 <= side <= 224 for side in picture.size)


def test_same_seed_same_pictures_and_another_seed_others(tmp_path):
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        draw(tmp_path / name, seed=seed, breeds=2, train=2, valid=1, test=1)

    first, again, other = (digests(tmp_path / name) for name in ("first", "again", "other"))
    assert first == again
    assert first.keys() == other.keys()
    assert not set(first.values()) & set(other.values())


def test_no_picture_is_drawn_twice(tmp_path):
    draw(tmp_path, breeds=2, train=4, valid=2, test=2)

    found = digests(tmp_path)
    assert len(set(found.values())) == len(found) == 16


@pytest.mark.parametrize("breeds", [1, len(BREEDS) + 1])
def test_refuses_more_breeds_than_it_knows(tmp_path, breeds):
    with pytest.raises(ValueError, match=f"breeds is {breeds}; it must be between 2 and {len(BREEDS)}"):
        draw(tmp_path, breeds=breeds)


def test_the_command_says_what_it_drew(tmp_path):
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path / "d", "--breeds", "2", "--train", "2", "--valid", "1", "--test", "1"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip().endswith("train=4 valid=2 test=2")
