"""Decoding and views: what a network gets to see."""

import io
import random

import numpy
import pytest
import torch
from images import Normalisation, UnreadableImage, central_view, decode_size, open_image, random_view
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


def test_the_central_view_is_the_middle_square():
    image = Image.new("RGB", (300, 100), (0, 0, 0))
    image.paste((255, 255, 255), (100, 0, 200, 100))

    view = central_view(image, 50)

    assert view.shape == (50, 50, 3)
    assert view.dtype == torch.uint8
    assert view.float().mean() > 250


def test_random_views_differ_and_come_back_with_the_same_seed():
    image = halves(200, 150).effect_spread(40)
    views = [random_view(image, 48, random.Random(seed)) for seed in (1, 1, 2)]

    assert views[0].shape == (48, 48, 3)
    assert torch.equal(views[0], views[1])
    assert not torch.equal(views[0], views[2])


def test_the_smallest_random_crop_is_not_enlarged():
    assert decode_size(224, 0) == 224
    assert decode_size(224, 3) >= 224 / numpy.sqrt(0.4)


def test_normalisation_gives_what_the_formula_says_in_channels_last():
    pixels = torch.randint(0, 256, (2, 5, 7, 3), dtype=torch.uint8)
    made = Normalisation((0.5, 0.4, 0.3), (0.1, 0.2, 0.3), torch.device("cpu"))(pixels)

    assert made.shape == (2, 3, 5, 7)
    assert made.is_contiguous(memory_format=torch.channels_last)
    expected = (pixels[1, 4, 6].double() / 255 - torch.tensor([0.5, 0.4, 0.3])) / torch.tensor([0.1, 0.2, 0.3])
    torch.testing.assert_close(made[1, :, 4, 6].double(), expected, atol=1e-5, rtol=1e-5)
