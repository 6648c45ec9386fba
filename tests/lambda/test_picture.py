"""What the function takes for a picture: real files of every format, and crafted ones."""

from __future__ import annotations

import io
import struct
import time

import picture
import pytest
from PIL import Image
from problem import Problem


def file(kind: str, size=(64, 48), mode="RGB", **options) -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise(size, 60).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def refused(data: bytes) -> tuple[int, str]:
    with pytest.raises(Problem) as caught:
        picture.content_type(data, "image")
    return caught.value.status, caught.value.message


FILES = {
    "jpeg": [{}, {"progressive": True}, {"mode": "L"}, {"mode": "CMYK"}, {"exif": b"Exif\0\0" + bytes(100)}],
    "png": [{}, {"mode": "P"}, {"mode": "1"}, {"mode": "LA"}],
    "gif": [{"mode": "P"}],
    "bmp": [{}, {"mode": "1"}, {"mode": "P"}],
    "tiff": [{}, {"compression": "tiff_lzw"}, {"compression": "jpeg"}, {"big_endian": True}, {"mode": "1"}],
    "webp": [{}, {"lossless": True}, {"mode": "RGBA"}, {"exif": b"Exif\0\0" + bytes(100)}],
}


@pytest.mark.parametrize(("kind", "options"), [(kind, options) for kind in FILES for options in FILES[kind]])
def test_every_format_is_told_by_its_content_and_measured(kind, options):
    assert picture.content_type(file(kind, **options), "image") == f"image/{kind}"
    assert refused(file(kind, size=(7, 64), **options)) == (
        400,
        "image has 7 x 64 pixels; each side must have at least 8.",
    )


@pytest.mark.parametrize("kind", FILES)
def test_a_picture_of_too_many_pixels_is_refused_in_every_format(kind):
    # GIF's and JPEG's sides end at 65,535, WebP's at 16,383
    wide, high = (16_383, 3_060) if kind == "webp" else (20_000, 2_501)
    data = bytearray(file(kind, **FILES[kind][0]))
    pair = {"jpeg": ">HH", "png": ">II", "gif": "<HH", "bmp": "<ii", "webp": "<HH"}
    if kind == "tiff":
        for tag, value in ((256, wide), (257, high)):
            at = data.index(struct.pack("<HHI", tag, 4, 1)) + 8
            data[at : at + 4] = struct.pack("<I", value)
    else:
        sides, new = ((48, 64), (high, wide)) if kind == "jpeg" else ((64, 48), (wide, high))
        data = data.replace(struct.pack(pair[kind], *sides), struct.pack(pair[kind], *new), 1)
    assert refused(bytes(data)) == (413, f"image has {wide} x {high} pixels; at most 50000000 in all are accepted.")


def test_a_bitmap_whose_rows_begin_at_the_top():
    data = bytearray(file("bmp"))
    data[22:26] = struct.pack("<i", -48)
    assert picture.content_type(bytes(data), "image") == "image/bmp"


@pytest.mark.parametrize("kind", FILES)
def test_a_beginning_alone_is_no_picture(kind):
    # a GIF and a bitmap have nothing by which their end is known without decoding them
    most = {"gif": 10, "bmp": 26, "tiff": 100}.get(kind, 10_000)
    whole = file(kind, **FILES[kind][0])
    for length in range(4, min(len(whole) - 2, most), 1 if most < 200 else 7):
        assert refused(whole[:length])[0] in (400, 415), length


@pytest.mark.parametrize("scans", [100, 101, 74_531])
def test_a_jpeg_of_more_scans_than_any_encoder_makes_is_refused_at_once(scans):
    whole = file("jpeg", progressive=True)
    number = whole.count(b"\xff\xda")
    last = whole[whole.rindex(b"\xff\xda") : whole.rindex(b"\xff\xd9")]
    data = whole[:-2] + last * (scans - number) + whole[-2:]
    started = time.process_time()
    if scans <= picture.MOST_SCANS:
        assert picture.content_type(data, "image") == "image/jpeg"
    else:
        assert refused(data) == (413, "image is a JPEG of more than 100 scans.")
    assert time.process_time() - started < 2  # decoding it would take minutes


@pytest.mark.parametrize(
    "filler", [b"\xff", b"\xff\x00", b"\xff\xfe\x00\x02", b"\xff\xd0", b"\0", b"\xff\xda\x00\x00", b"\xff\xc0"]
)
def test_five_megabytes_of_nonsense_are_read_in_linear_time(filler):
    whole = file("jpeg")
    started = time.process_time()
    for head in (whole[:4], whole[: whole.index(b"\xff\xda")]):
        assert refused(head + filler * (picture.MOST_BYTES // len(filler)))[0] in (400, 413)
    assert time.process_time() - started < 5


def test_what_lies_behind_a_jpegs_end_is_not_its_business():
    # as phones append a film to a photo
    assert picture.content_type(file("jpeg") + bytes(5000) + b"\xff\xda" * 500, "image") == "image/jpeg"


def test_a_photo_in_the_photo_is_not_what_is_measured():
    small = file("jpeg", size=(16, 16), progressive=True)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0" + small
    assert picture.content_type(file("jpeg", size=(640, 480), exif=exif), "image") == "image/jpeg"
    assert refused(file("jpeg", size=(7, 480), exif=exif))[0] == 400


@pytest.mark.parametrize("data", [b"", b"\0" * 40, b"<svg>", b"%PDF-1.7", b"RIFF\0\0\0\0WAVE", b"\0\0\0\x20ftypheic"])
def test_what_is_no_picture_is_told_which_formats_are(data):
    status, message = refused(data)
    assert (status, message) == (
        415,
        "image is no picture in one of the formats JPEG, PNG, GIF, BMP, TIFF, WebP.",
    )
