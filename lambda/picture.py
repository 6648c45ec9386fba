"""What this function takes for a picture, told from its headers alone: nothing is decoded here.

The formats, the sides and the scans are those that training and the endpoint decode.
"""

from __future__ import annotations

import re
import struct

from problem import Problem

MOST_BYTES = 5 * 1024 * 1024
SMALLEST_SIDE = 8
MOST_PIXELS = 50_000_000
# Every scan of a progressive JPEG goes over the whole picture again, even one of ten bytes. Encoders make about ten;
# libtiff's limit for the JPEG in a TIFF is a hundred as well (TIFFTAG: LIBTIFF_JPEG_MAX_ALLOWED_SCAN_NUMBER).
MOST_SCANS = 100
MOST_SEGMENTS = 10_000

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WebP")
END_OF_PNG = b"IEND\xae\x42\x60\x82"
# ITU T.81, table B.1: start-of-frame markers; the four left out are DHT, JPG and DAC. Among the data of a scan 0xFF is
# followed by 0, and restart markers have no meaning of their own.
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
SCAN, END_OF_JPEG = 0xDA, 0xD9
JPEG_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])", re.DOTALL)
# TIFF 6.0, section 2: how a value of type SHORT or LONG lies in an entry.
TIFF_WIDTH, TIFF_HEIGHT = 256, 257
TIFF_TYPES = {3: "H", 4: "I"}

Size = tuple[int, int]


def content_type(data: bytes, name: str) -> str:
    """The content type of a picture: `image/jpeg`, `image/png`, `image/gif`, `image/bmp`, `image/tiff`, `image/webp`.

    Raises Problem for what is no such picture, is cut off, or has an insane size; `name` is the field to blame.
    """
    kind = _format(data)
    if kind is None:
        raise Problem(415, f"{name} is no picture in one of the formats {', '.join(FORMATS)}.")
    size = _SIZES[kind](data, name)
    if size is None:
        raise Problem(400, f"{name} is a {kind} picture that is cut off or damaged.")
    width, height = size
    if min(width, height) < SMALLEST_SIDE:
        raise Problem(400, f"{name} has {width} x {height} pixels; each side must have at least {SMALLEST_SIDE}.")
    if width * height > MOST_PIXELS:
        raise Problem(413, f"{name} has {width} x {height} pixels; at most {MOST_PIXELS} in all are accepted.")
    return f"image/{kind.lower()}"


def _format(data: bytes) -> str | None:
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"BM"):
        return "BMP"
    if data.startswith((b"II*\0", b"MM\0*")):
        return "TIFF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    return None


def _jpeg(data: bytes, name: str) -> Size | None:
    """The size of a JPEG that has an end, whatever lies behind that; its segments are walked as libjpeg does it."""
    size, scans, at = None, 0, 2
    for _ in range(MOST_SEGMENTS):
        marker = JPEG_MARKER.search(data, at)
        if marker is None:
            return None
        kind, at = marker[1][0], marker.end()
        if kind == END_OF_JPEG:
            return size if scans else None
        if kind in FRAMES and size is None:
            size = (_unpacked(">xxxHH", data, at) or (0, 0))[::-1]  # the height comes first
        elif kind == SCAN:
            scans += 1
            if scans > MOST_SCANS:
                raise Problem(413, f"{name} is a JPEG of more than {MOST_SCANS} scans.")
        length = _unpacked(">H", data, at)
        if length is None or length[0] < 2:
            return None
        at += length[0]
    return None


def _png(data: bytes, name: str) -> Size | None:
    return _unpacked(">II", data, 16) if data[12:16] == b"IHDR" and END_OF_PNG in data else None


def _gif(data: bytes, name: str) -> Size | None:
    return _unpacked("<HH", data, 6)


def _bmp(data: bytes, name: str) -> Size | None:
    header = _unpacked("<I", data, 14)
    size = _unpacked("<HH" if header == (12,) else "<ii", data, 18)
    return (size[0], abs(size[1])) if size else None  # a negative height: the rows begin at the top


def _tiff(data: bytes, name: str) -> Size | None:
    order = "<" if data[:1] == b"I" else ">"
    start = _unpacked(order + "I", data, 4)
    count = _unpacked(order + "H", data, start[0]) if start else None
    found: dict[int, int] = {}
    for number in range(count[0] if count else 0):
        at = start[0] + 2 + 12 * number
        entry = _unpacked(order + "HHI", data, at)
        if entry is None:
            return None
        tag, kind, values = entry
        if tag in (TIFF_WIDTH, TIFF_HEIGHT) and kind in TIFF_TYPES and values == 1:
            value = _unpacked(order + TIFF_TYPES[kind], data, at + 8)
            if value:
                found[tag] = value[0]
    return (found[TIFF_WIDTH], found[TIFF_HEIGHT]) if len(found) == 2 else None


def _webp(data: bytes, name: str) -> Size | None:
    length = _unpacked("<I", data, 4)
    if length is None or length[0] + 8 > len(data):
        return None
    if data[12:16] == b"VP8 ":  # RFC 6386, section 9.1
        size = _unpacked("<HH", data, 26)
        return (size[0] & 0x3FFF, size[1] & 0x3FFF) if size and data[23:26] == b"\x9d\x01\x2a" else None
    if data[12:16] == b"VP8L" and data[20:21] == b"\x2f":  # RFC 9649, section 3.4
        bits = _unpacked("<I", data, 21)
        return ((bits[0] & 0x3FFF) + 1, (bits[0] >> 14 & 0x3FFF) + 1) if bits else None
    if data[12:16] == b"VP8X" and len(data) >= 30:  # RFC 9649, section 2.7
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    return None


_SIZES = {"JPEG": _jpeg, "PNG": _png, "GIF": _gif, "BMP": _bmp, "TIFF": _tiff, "WebP": _webp}


def _unpacked(form: str, data: bytes, at: int) -> tuple[int, ...] | None:
    """Numbers of the form, in the order they lie in, or None where the data is too short."""
    if at + struct.calcsize(form) > len(data):
        return None
    return struct.unpack_from(form, data, at)
