"""Decoding: every kind of file that may lie in a data set or be sent to an endpoint."""

import io
import struct
import time
import zlib

import decoding
import numpy
import pytest
from decoding import UnreadableImage, open_image, open_sized
from PIL import Image


def encoded(image, kind="JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def halves(width=80, height=60):
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), (255, 0, 0))
    image.paste((0, 0, 255), (width // 2, 0, width, height))
    return image


def test_a_big_jpeg_is_decoded_small_but_never_below_what_is_needed():
    data = encoded(Image.new("RGB", (1600, 1200)))

    assert open_image(data, 224).size == (400, 300)
    assert open_image(data, 400).size == (800, 600)
    assert open_image(data, 1500).size == (1600, 1200)


def test_a_picture_is_turned_as_its_camera_says():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    image = open_image(encoded(halves(), exif=exif), 32)

    assert image.size == (60, 80)
    top, bottom = image.getpixel((30, 10)), image.getpixel((30, 70))
    assert top[0] > 200 > 60 > top[2]
    assert bottom[2] > 200 > 60 > bottom[0]


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1"])
def test_every_colour_mode_becomes_rgb(mode):
    kind = "JPEG" if mode == "CMYK" else "PNG"
    assert open_image(encoded(halves().convert(mode), kind), 32).mode == "RGB"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a picture in one of the formats JPEG"),
        (b"hello", "not a picture in one of the formats JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not a picture"),
        (encoded(halves(600, 600))[:3000], "truncated"),
        (encoded(halves(600, 600), "PNG")[:300], "."),
    ],
)
def test_what_is_no_picture_is_unreadable_for_a_reason(data, reason):
    with pytest.raises(UnreadableImage, match=reason):
        open_image(data, 32)


def test_a_decompression_bomb_is_unreadable():
    bomb = encoded(Image.new("1", (20_000, 20_000)), "PNG")
    assert len(bomb) < 100_000

    with pytest.raises(UnreadableImage, match="exceeds limit"):
        open_image(bomb, 32)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_format_is_turned_as_its_camera_says(kind, orientation):
    # GIVEN a picture whose upper left is red, turned as a camera would
    upright = Image.new("RGB", (80, 60), (0, 0, 255))
    upright.paste((255, 0, 0), (0, 0, 40, 30))
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Transpose: FLIP_LEFT_RIGHT, ROTATE_180, ...
    turned = upright.transpose(Image.Transpose(back[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    # WHEN it is opened
    image, size = open_sized(encoded(turned, kind, exif=exif), 32)
    assert size == (80, 60)
    # THEN it is upright
    assert image.size == (80, 60)
    red = [image.getpixel(place)[0] > 128 for place in ((10, 8), (70, 8), (10, 52), (70, 52))]
    assert red == [True, False, False, False]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_does_not_make_a_picture_unreadable(kind):
    assert open_image(encoded(halves(), kind, exif=b"Exif\0\0nope"), 32).size == (80, 60)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_of_grey_are_sixteen_bits_of_grey(kind):
    values = numpy.linspace(0, 65535, 60 * 80).reshape(60, 80).astype(numpy.uint16)
    made = numpy.asarray(open_image(encoded(Image.fromarray(values), kind), 32))
    assert (made == (values >> 8)[..., None]).all()


@pytest.mark.parametrize("kind", [numpy.int32, numpy.float32])
def test_numbers_without_a_white_are_refused(kind):
    with pytest.raises(UnreadableImage, match="32-bit numbers"):
        open_image(encoded(Image.fromarray(numpy.ones((60, 80), kind)), "TIFF"), 32)


def _transparent(mode):
    image = halves().convert(mode)
    if mode in ("P", "L"):
        return encoded(image, "PNG", transparency=image.getpixel((0, 0)))
    image.putalpha(Image.new("L", image.size, 255))
    image.paste((255, 0, 0, 0) if mode == "RGBA" else (76, 0), (0, 0, 40, 60))
    return encoded(image, "PNG")


@pytest.mark.parametrize("mode", ["P", "L", "LA", "RGBA"])
def test_what_is_transparent_is_white(mode):
    image = open_image(_transparent(mode), 32)
    assert image.getpixel((10, 30)) == (255, 255, 255)
    assert image.getpixel((70, 30)) != (255, 255, 255)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_is_the_picture(kind):
    data = encoded(halves(), kind, save_all=True, append_images=[Image.new("RGB", (80, 60), (0, 255, 0))])
    image = open_image(data, 32)
    assert image.getpixel((10, 30))[0] > 200
    assert image.getpixel((70, 30))[2] > 200


def test_an_adobe_cmyk_jpeg_keeps_its_colours():
    image = open_image(encoded(halves().convert("CMYK")), 32)
    assert image.getpixel((10, 30)) == pytest.approx((255, 0, 0), abs=8)
    assert image.getpixel((70, 30)) == pytest.approx((0, 0, 255), abs=8)


@pytest.mark.parametrize("scans", [100, 101, 74_531])
def test_a_jpeg_of_more_scans_than_any_encoder_makes_is_unreadable_at_once(scans, tmp_path):
    whole = encoded(halves(200, 150), progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : whole.rindex(b"\xff\xd9")]
    path = tmp_path / "scans.jpg"
    path.write_bytes(whole[:-2] + last * (scans - whole.count(b"\xff\xda")) + whole[-2:])
    started = time.process_time()
    if scans <= decoding.MOST_SCANS:
        assert open_image(path, 32).size == (200 // 4, 152 // 4)
    else:
        for source in (path, path.read_bytes()):
            with pytest.raises(UnreadableImage, match="it is a JPEG of more than 100 scans"):
                open_image(source, 32)
    assert time.process_time() - started < 5  # decoded it would take minutes


def test_scans_in_a_photos_own_small_photo_or_behind_its_end_do_not_count():
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0" + b"\xff\xda" * 200
    assert open_image(encoded(halves(), exif=exif) + b"\xff\xda" * 200, 32).size == (80, 60)


@pytest.mark.parametrize("filler", [b"\xff\xda\0\2", b"\xff\xda\0\0", b"\xff\xfe\0\2" * 99 + b"\xff\xda\0\2"])
def test_megabytes_of_empty_segments_are_read_in_no_time(filler):
    whole = encoded(halves())
    started = time.process_time()
    with pytest.raises(UnreadableImage):
        open_image(whole[:4] + filler * (5_000_000 // len(filler)), 32)
    assert time.process_time() - started < 5


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(7, 100), (100, 7), (7100, 7100)])
def test_sides_that_the_function_refuses_are_refused_here_too(size):
    with pytest.raises(UnreadableImage, match=r"at least 8|exceeds the limit of 50000000"):
        open_image(encoded(Image.new("1", size), "PNG"), 32)


@pytest.mark.parametrize("chunk", [b"iCCP", b"zTXt"])
def test_a_bomb_beside_the_pixels_is_unreadable(chunk):
    bomb = chunk + b"x\0\0" + zlib.compress(bytes(50_000_000), 9)
    whole = encoded(halves(), "PNG")
    data = whole[:33] + struct.pack(">I", len(bomb) - 4) + bomb + struct.pack(">I", zlib.crc32(bomb)) + whole[33:]
    with pytest.raises(UnreadableImage, match="too large"):
        open_image(data, 32)
