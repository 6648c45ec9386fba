"""What a picture is: the formats of a data set, and what of them the function and the endpoint take.

The function's own words for it are in lambda/picture.py, training's and the endpoint's in ml_scripts/decoding.py;
docs/your_own.md, "What a picture may be", is for people. A test holds the three against each other.
"""

from __future__ import annotations

import io

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WebP")
SMALLEST_SIDE = 8
MOST_PIXELS = 50_000_000
# AWS takes 6 MB of an event (Lambda quotas, "Invocation payload"), in which a picture lies as base64 among a few words.
MOST_EVENT_BYTES = (6 * 1024 * 1024 - 1024) // 4 * 3

HEAD_BYTES = 16
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*")


def is_picture(head: bytes) -> bool:
    """Whether a file that begins with `head` (16 bytes) is a picture of one of the formats.

    It is the content that counts, not the name: a web page saved as .jpg is the usual surprise.
    """
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return webp or head.startswith(_MAGIC)


def why_not_sent(data: bytes) -> str | None:
    """Why a picture cannot be sent to the function in an event; None when it can. Nothing is decoded."""
    from PIL import Image

    if len(data) > MOST_EVENT_BYTES:
        return f"it has {len(data):,} bytes"
    if not is_picture(data[:HEAD_BYTES]):
        return "it is in none of these formats"
    try:
        with Image.open(io.BytesIO(data), formats=[each.upper() for each in FORMATS]) as image:
            width, height = image.size
    except Exception:  # Pillow raises whatever it trips over
        return "it is damaged"
    if min(width, height) < SMALLEST_SIDE or width * height > MOST_PIXELS:
        return f"it has {width:,} x {height:,} pixels"
    return None


def what_is_sent() -> str:
    """The limits in words."""
    return (
        f"{', '.join(FORMATS[:-1])} and {FORMATS[-1]} of at most {MOST_EVENT_BYTES:,} bytes, {MOST_PIXELS:,} pixels "
        f"and sides of at least {SMALLEST_SIDE} pixels"
    )
