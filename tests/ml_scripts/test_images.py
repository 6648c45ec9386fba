"""Views: what a network gets to see."""

import random

import numpy
import pytest
import torch
from images import Normalisation, central_view, decode_size, random_view
from PIL import Image


def halves(width=80, height=60):
    """Red on the left, blue on the right."""
    image = Image.new("RGB", (width, height), (255, 0, 0))
    image.paste((0, 0, 255), (width // 2, 0, width, height))
    return image


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
    # Not torch.testing's, which imports sympy for a second.
    assert made[1, :, 4, 6].tolist() == pytest.approx(expected.tolist(), abs=1e-5, rel=1e-5)
