"""Small data sets: real image headers, one folder per class."""

from __future__ import annotations

from pathlib import Path

import pytest

JPEG = b"\xff\xd8\xff\xe0" + bytes(12)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)


@pytest.fixture
def pictures(tmp_path):
    """A function that writes a data set of two breeds, two pictures a class and split, and returns its folder."""

    def write(root: Path = tmp_path / "pictures") -> Path:
        for split in ("train", "valid", "test"):
            for breed in ("001.Affenpinscher", "002.Akita"):
                folder = root / split / breed
                folder.mkdir(parents=True)
                for number in range(2):
                    (folder / f"{number}.jpg").write_bytes(JPEG + f"{split} {breed} {number}".encode())
        return root

    return write
