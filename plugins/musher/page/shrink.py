"""Makes small pictures of callers' pictures, in a process of its own: run as a script, imported by nobody.

Reads a JSON list of pictures in base64, and writes a line for each: a JPEG within SIDE x SIDE pixels in base64, empty
for what cannot be decoded. A picture that would take more memory or time than the limits allow ends this process and no
other one. Nothing of the original but its pixels is written: no comment, no place where it was taken.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import sys

SIDE = 96
# A JPEG is decoded at an eighth of its size, others whole.
MOST_PIXELS = 50_000_000
MEMORY, SECONDS = 1024 * 2**20, 10
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # those that the endpoint takes


def main() -> None:
    _limit()
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    for text in json.load(sys.stdin):
        try:
            line = small(base64.b64decode(text, validate=True))
        except Exception:  # a decoder fed with garbage raises whatever it trips over
            line = ""
        print(line, flush=True)


def _limit() -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    limits = {
        resource.RLIMIT_AS: MEMORY,
        resource.RLIMIT_CPU: SECONDS,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in limits.items():
        with contextlib.suppress(ValueError, OSError):  # where a lower one is set already, or the system has none
            resource.setrlimit(limit, (value, value))


def small(data: bytes) -> str:
    """The small picture, as base64. Raises anything for what is no picture."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError("too many pixels")
        image.draft("RGB", (SIDE, SIDE))
        image.load()
        image.thumbnail((4 * SIDE, 4 * SIDE))
        with contextlib.suppress(Exception):  # broken EXIF
            image = ImageOps.exif_transpose(image)
        image = image.convert("RGBA")
    image.thumbnail((SIDE, SIDE))
    ground = Image.new("RGB", image.size, "white")
    ground.paste(image, mask=image)
    written = io.BytesIO()
    ground.save(written, "JPEG", quality=80)
    return base64.b64encode(written.getvalue()).decode()


if __name__ == "__main__":
    main()
