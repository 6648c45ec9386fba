"""From a file or a request body to an upright RGB picture, and what is refused before it is decoded.

What is a picture is the same for training, for the endpoint and for the function in front of it: docs/your_own.md,
"What a picture may be", says it. Plain Pillow and NumPy: importing torchvision would cost a job or an endpoint a second
at its start.
"""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy
from PIL import Image, ImageOps

# Formats Pillow decodes in its own process. EPS and the like would start other programs on the user's file.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
SMALLEST_SIDE = 8
# 200 MB decoded; a picture with transparency takes three times that on its way.
MOST_PIXELS = 50_000_000
# Every scan of a JPEG goes over the whole picture again, even one of ten bytes: 74,531 of them, which fit into 5 MB,
# take half an hour. Encoders make about ten. libtiff's limit for the JPEG in a TIFF is a hundred, too.
MOST_SCANS = 100
MOST_SEGMENTS = 10_000

JPEG, SCAN, END = b"\xff\xd8\xff", 0xDA, 0xD9
# ITU T.81, table B.1: markers with a meaning of their own; among the data of a scan 0xFF is followed by 0.
MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])", re.DOTALL)
# Pillow's own limit, which counts for the frames within a picture too; it raises above twice this number.
Image.MAX_IMAGE_PIXELS = MOST_PIXELS


class UnreadableImage(Exception):
    """The bytes are no picture that can be decoded; the text is the reason, without a path."""


def _open(path: Path) -> BinaryIO:
    return path.open("rb")


def open_image(source: Path | bytes, at_least: int, opener: Callable[[Path], BinaryIO] = _open) -> Image.Image:
    """The picture of :func:`open_sized`."""
    return open_sized(source, at_least, opener)[0]


def open_sized(
    source: Path | bytes, at_least: int, opener: Callable[[Path], BinaryIO] = _open
) -> tuple[Image.Image, tuple[int, int]]:
    """Decode a picture into RGB, upright, on white where it is transparent; of several frames the first.

    Returns it, and the width and height that it has upright when it is decoded whole.

    Args:
        source: a file, or the bytes of one.
        at_least: pixels each side must keep. A JPEG is decoded at 1/2, 1/4 or 1/8 of its size while both sides
            stay above it (Pillow's draft mode), which for a photo from a camera is several times cheaper.
        opener: opens a file; another one may look at how it is read.

    Raises:
        UnreadableImage: whatever is wrong with it.
    """
    try:
        with io.BytesIO(source) if isinstance(source, bytes) else opener(source) as file:
            if file.read(len(JPEG)) == JPEG:
                _refuse_scans(file.read())
            file.seek(0)
            with Image.open(file, formats=FORMATS) as image:
                _refuse_size(*image.size)
                width, height = image.size
                image.draft("RGB", (at_least, at_least))
                image.load()  # a TIFF turns itself upright as it is loaded, so this comes before the turning
                upright = _rgb(_upright(image))
                turned = (upright.width - upright.height) * (width - height) < 0
                return upright, (height, width) if turned else (width, height)
    except UnreadableImage:
        raise
    except Image.UnidentifiedImageError:
        raise UnreadableImage(f"not a picture in one of the formats {', '.join(FORMATS)}") from None
    except Exception as error:  # a decoder fed with garbage raises whatever it trips over
        raise UnreadableImage(" ".join(str(error).split()) or type(error).__name__) from None


def _refuse_size(width: int, height: int) -> None:
    if min(width, height) < SMALLEST_SIDE:
        raise UnreadableImage(f"it has {width} x {height} pixels; each side must have at least {SMALLEST_SIDE}")
    if width * height > MOST_PIXELS:
        raise UnreadableImage(f"it has {width} x {height} pixels, which exceeds the limit of {MOST_PIXELS} in all")


def _refuse_scans(data: bytes) -> None:
    """Refuse a JPEG, given without its first bytes, of more scans than any encoder makes."""
    if data.count(bytes((0xFF, SCAN))) <= MOST_SCANS:
        return  # each scan begins with these two, but so may what is in other segments and behind the end
    scans = at = 0
    for _ in range(MOST_SEGMENTS):
        marker = MARKER.search(data, at)
        if marker is None or marker[1][0] == END:
            return
        scans += marker[1][0] == SCAN
        if scans > MOST_SCANS:
            raise UnreadableImage(f"it is a JPEG of more than {MOST_SCANS} scans")
        at = marker.end() + max(2, int.from_bytes(data[marker.end() : marker.end() + 2], "big"))
    raise UnreadableImage(f"it is a JPEG of more than {MOST_SEGMENTS} segments")


def _upright(image: Image.Image) -> Image.Image:
    """The picture as its camera was held, where that is told in a form that can be read."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # broken EXIF does not make a picture unreadable
        return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow's own conversion takes every value above 255 for white.
        return Image.fromarray((numpy.asarray(image) >> 8).astype(numpy.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise UnreadableImage("its pixels are 32-bit numbers, of which nobody says which one is white")
    if not image.has_transparency_data:
        return image.convert("RGB")
    # What lies under transparent pixels is whatever the program that wrote them left there.
    ground = Image.new("RGBA", image.size, "white")
    ground.alpha_composite(image.convert("RGBA"))
    return ground.convert("RGB")
