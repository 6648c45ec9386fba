"""One contract of what a picture is, on both sides of each wall: data set, training and endpoint, function."""

from __future__ import annotations

import io
import sys
from functools import partial
from pathlib import Path

import pytest
from musher.dataset import picture as of_data_set
from musher.request_parameters import registry
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / "lambda"), str(ROOT / "ml_scripts")]
import decoding  # noqa: E402
import picture as of_function  # noqa: E402
from problem import Problem  # noqa: E402


def file(kind: str, size=(40, 30), mode="RGB", **options) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind, **options)
    return buffer.getvalue()


def many_scans(number: int) -> bytes:
    whole = file("JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * (number - whole.count(b"\xff\xda")) + whole[-2:]


# Each is made by its test: the largest ones take as long as a hundred tests, and each process collects all tests.
GOOD = {
    **{kind: partial(file, kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP")},
    "smallest": partial(file, "PNG", size=(8, 8)),
    "one bit": partial(file, "TIFF", mode="1"),
    "CMYK": partial(file, "JPEG", mode="CMYK"),
    "palette with transparency": partial(file, "PNG", mode="P", transparency=0),
    "grey with transparency": partial(file, "PNG", mode="LA"),
    "sixteen bits": partial(file, "PNG", mode="I;16"),
    "largest": partial(file, "PNG", size=(10_000, 5_000), mode="1"),
    "with a film behind it": lambda: file("JPEG") + bytes(5000),
    "100 scans": partial(many_scans, 100),
}
BAD = {
    "page": lambda: b"<!DOCTYPE html><html></html>",
    "nothing": bytes,
    "PostScript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    "icon": partial(file, "ICO"),
    "JPEG 2000": partial(file, "JPEG2000"),
    "too small": partial(file, "PNG", size=(7, 100)),
    "too large": partial(file, "PNG", size=(10_000, 5_001), mode="1"),
    "cut off": lambda: file("JPEG")[:200],
    "cut off in its head": lambda: file("PNG")[:20],
    "101 scans": partial(many_scans, 101),
}


def taken_by(data: bytes) -> dict[str, bool]:
    found = {"data set": of_data_set.is_picture(data[:16]), "load test": of_data_set.why_not_sent(data) is None}
    try:
        of_function.content_type(data, "image")
        found["function"] = True
    except Problem:
        found["function"] = False
    try:
        found["endpoint"] = decoding.open_image(data, 32).mode == "RGB"
    except decoding.UnreadableImage:
        found["endpoint"] = False
    return found


@pytest.mark.parametrize("name", GOOD)
def test_what_one_side_takes_the_others_take(name):
    assert taken_by(GOOD[name]()) == dict.fromkeys(("data set", "load test", "function", "endpoint"), True)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", BAD)
def test_what_the_endpoint_refuses_never_gets_past_the_function(name):
    found = taken_by(BAD[name]())
    assert not found["function"]
    assert not found["endpoint"]


def test_the_limits_are_the_same():
    for name in ("SMALLEST_SIDE", "MOST_PIXELS"):
        assert getattr(of_data_set, name) == getattr(of_function, name) == getattr(decoding, name)
    assert of_data_set.MOST_EVENT_BYTES < of_function.MOST_BYTES
    assert of_function.MOST_SCANS == decoding.MOST_SCANS
    assert of_data_set.FORMATS == of_function.FORMATS
    assert {each.upper() for each in of_function.FORMATS} == set(decoding.FORMATS)


def test_every_content_type_of_the_function_is_one_that_the_endpoint_and_the_registry_name():
    source = (ROOT / "ml_scripts/inference.py").read_text()
    for name in of_function.FORMATS:
        assert f"image/{name.lower()}" in registry.CONTENT_TYPES
        assert f'"image/{name.lower()}"' in source


def test_the_page_for_people_says_the_same():
    page = (ROOT / "docs/your_own.md").read_text()
    section = page[page.index("## What a picture may be") :]
    for words in (*of_function.FORMATS, "5 MB", "4.7 MB", "50 megapixels", "8 pixels", "100 scans"):
        assert words in section[: section.index("\n## ", 5)], words
