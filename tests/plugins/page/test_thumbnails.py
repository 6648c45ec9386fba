"""Small pictures of what may be anything."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from musher.page import shrink, thumbnails
from PIL import Image

from tests.plugins.page.capturing import photo


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_hostile_pictures_have_no_small_one_and_keep_no_other_from_its_own():
    huge = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(huge, "PNG")
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a secret place"
    photographed = photo(9, (800, 400), "JPEG", exif=exif, comment=b"a secret place")
    asked = [text(photo(1)), "no base64", text(b"%!PS-Adobe-3.0 EPSF-3.0"), text(huge.getvalue()), text(photographed)]
    made = thumbnails.thumbnails(asked)
    assert [bool(each) for each in made] == [True, False, False, False, True]
    small = base64.b64decode(made[4])
    with Image.open(io.BytesIO(small)) as image:
        assert (image.format, image.size) == ("JPEG", (48, 96))
    assert b"secret" not in small
    assert len(small) < 5_000


@pytest.mark.parametrize("size", [(3, 700), (1, 1), (700, 3)])
def test_every_form_fits(size):
    with Image.open(io.BytesIO(base64.b64decode(shrink.small(photo(5, size))))) as image:
        assert max(image.size) <= shrink.SIDE


def test_a_picture_that_ends_the_process_costs_its_own_small_one_only(monkeypatch, tmp_path):
    script = tmp_path / "shrink.py"
    script.write_text(
        "import json, os, sys\nfor text in json.load(sys.stdin):\n    text == 'bad' and os.abort()\n"
        "    print(text.upper(), flush=True)\n    assert 'AWS_SECRET_ACCESS_KEY' not in os.environ\n"
    )
    monkeypatch.setattr(thumbnails, "__file__", str(tmp_path / "thumbnails.py"))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    assert thumbnails.thumbnails(["a", "bad", "b", "bad", "<b>"]) == ["A", "", "B", "", ""]


@pytest.mark.skipif("sys.platform != 'linux'", reason="the limit of memory is Linux's")
def test_a_picture_that_takes_too_much_memory_is_none(monkeypatch, tmp_path):
    # GIVEN the script with less memory, so that a picture that takes as much is made quickly
    script = Path(thumbnails.__file__).with_name("shrink.py").read_text()
    assert "MEMORY, SECONDS = 1024 * 2**20" in script
    (tmp_path / "shrink.py").write_text(
        script.replace("MEMORY, SECONDS = 1024 * 2**20", "MEMORY, SECONDS = 120 * 2**20")
    )
    monkeypatch.setattr(thumbnails, "__file__", str(tmp_path / "thumbnails.py"))
    bomb = io.BytesIO()
    Image.new("RGBA", (5000, 5000)).save(bomb, "PNG", compress_level=1)
    # WHEN one takes it all THEN the others have their small ones
    made = thumbnails.thumbnails([text(photo(1)), text(bomb.getvalue()), text(photo(2))])
    assert [bool(each) for each in made] == [True, False, True]
