"""Whether bytes are a picture of sane size, from its header alone: nothing is decoded here."""

from __future__ import annotations

import struct

from problem import Problem

SMALLEST_SIDE = 8
MOST_PIXELS = 50_000_000
PNG = b"\x89PNG\r\n\x1a\n"
END_OF_PNG = b"IEND\xae\x42\x60\x82"
JPEG = b"\xff\xd8\xff"
# ITU T.81, table B.1: start-of-frame markers; the four left out are DHT, JPG and DAC.
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
WITHOUT_LENGTH = frozenset(range(0xD0, 0xDA)) | {0x01}


def content_type(data: bytes, name: str) -> str:
    """`image/jpeg` or `image/png`.

    Raises Problem for what is no such picture, is cut off, or has an insane size; `name` is the field to blame.
    """
    if data.startswith(PNG):
        kind, size, whole = "image/png", _png_size(data), END_OF_PNG in data[-1024:]
    elif data.startswith(JPEG):
        kind, size, whole = "image/jpeg", _jpeg_size(data), b"\xff\xd9" in data[-1024:]
    else:
        raise Problem(415, f"{name} is no JPEG or PNG picture.")
    if size is None or not whole:
        raise Problem(400, f"{name} is a {kind[6:].upper()} picture that is cut off or damaged.")
    width, height = size
    if min(width, height) < SMALLEST_SIDE:
        raise Problem(400, f"{name} has {width} x {height} pixels; each side must have at least {SMALLEST_SIDE}.")
    if width * height > MOST_PIXELS:
        raise Problem(413, f"{name} has {width} x {height} pixels; at most {MOST_PIXELS} in all are accepted.")
    return kind


def _png_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 33 or data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in WITHOUT_LENGTH:
            at += 2
            continue
        (length,) = struct.unpack(">H", data[at + 2 : at + 4])
        if marker in FRAMES:
            if at + 9 > len(data):
                return None
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        if marker == 0xDA or length < 2:
            return None
        at += 2 + length
    return None
