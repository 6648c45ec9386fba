"""Draw a small data set of made-up dog breeds, so that everything can be tried without a download.

    python tools/sample_dataset.py DEST [--seed 0] [--breeds 6] [--train 40] [--valid 8] [--test 8]

Writes ``DEST/{train,valid,test}/<breed>/<breed>_<number>.jpg`` in a few seconds, with nothing but Pillow. The same seed
draws the same pictures. Breeds differ in coat, markings, ears, tail and build, and overlap in colour; every dog stands
differently, in another light and in front of another background, so a network has something to learn.
"""

import argparse
import colorsys
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[int, int, int]
Points = list[tuple[float, float]]
# The dog is drawn on a canvas of this size and scaled into its picture.
CANVAS = 240
SHORT_SIDE = (160, 200)
LONG_SIDE = (180, 224)


@dataclass(frozen=True)
class Breed:
    """Looks. ``coat`` and ``marking`` are hue, saturation, value from 0 to 1; lengths are shares of the canvas."""

    name: str
    coat: tuple[float, float, float]
    marking: tuple[float, float, float]
    pattern: str
    ears: str
    tail: str
    legs: float
    girth: float


BREEDS = (
    Breed("001.Ash_spitz", (0.08, 0.12, 0.62), (0.08, 0.10, 0.92), "bib", "pointed", "curled", 0.20, 0.17),
    Breed("002.Amber_hound", (0.09, 0.62, 0.78), (0.06, 0.50, 0.22), "saddle", "hanging", "raised", 0.22, 0.14),
    Breed("003.Brindle_courser", (0.07, 0.55, 0.52), (0.06, 0.50, 0.20), "stripes", "folded", "low", 0.30, 0.10),
    Breed("004.Chalk_setter", (0.10, 0.06, 0.93), (0.05, 0.30, 0.22), "spots", "hanging", "plumed", 0.24, 0.14),
    Breed("005.Ink_terrier", (0.60, 0.12, 0.18), (0.08, 0.65, 0.66), "points", "pointed", "raised", 0.13, 0.14),
    Breed("006.Rust_pointer", (0.04, 0.68, 0.60), (0.09, 0.05, 0.95), "socks", "hanging", "raised", 0.25, 0.12),
    Breed("007.Slate_mastiff", (0.60, 0.15, 0.42), (0.60, 0.12, 0.25), "mask", "folded", "low", 0.20, 0.20),
    Breed("008.Straw_shepherd", (0.11, 0.48, 0.84), (0.07, 0.40, 0.30), "mask", "pointed", "plumed", 0.24, 0.15),
)


def draw(dest: Path, seed: int = 0, breeds: int = 6, train: int = 40, valid: int = 8, test: int = 8) -> dict[str, int]:
    """Write the data set below ``dest`` and return the number of pictures of each split.

    Args:
        breeds: how many classes, 2 to 8.
        train, valid, test: pictures of each breed.

    Raises:
        ValueError: ``breeds`` is out of range.
    """
    if not 2 <= breeds <= len(BREEDS):
        raise ValueError(f"breeds is {breeds}; it must be between 2 and {len(BREEDS)}")
    counts = {"train": train, "valid": valid, "test": test}
    for breed in BREEDS[:breeds]:
        number = 0
        for split, count in counts.items():
            folder = dest / split / breed.name
            folder.mkdir(parents=True, exist_ok=True)
            for _ in range(count):
                number += 1
                picture = portrait(breed, random.Random(f"{seed}/{breed.name}/{number}"))
                picture.save(folder / f"{breed.name[4:]}_{number:05d}.jpg", quality=88)
    return {split: count * breeds for split, count in counts.items()}


def portrait(breed: Breed, chance: random.Random) -> Image.Image:
    """One dog in its surroundings: RGB, sides between 160 and 224 pixels."""
    width, height = chance.randint(*LONG_SIDE), chance.randint(*SHORT_SIDE)
    if chance.random() < 0.3:
        width, height = height, width
    picture = _surroundings(width, height, chance)
    dog = _dog(breed, chance)
    if chance.random() < 0.5:
        dog = dog.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    dog = dog.rotate(chance.uniform(-12, 12), Image.Resampling.BILINEAR)
    size = int(min(width, height) * chance.uniform(0.5, 1.1))
    dog = dog.resize((size, int(size * chance.uniform(0.85, 1.1))))
    left = int((width - dog.width) / 2 + chance.uniform(-0.12, 0.12) * width)
    top = int((height - dog.height) / 2 + chance.uniform(-0.05, 0.12) * height)
    picture.paste(dog, (left, top), dog)
    _foreground(ImageDraw.Draw(picture), width, height, chance)
    brightness = chance.uniform(0.5, 1.15)
    light = [brightness * chance.uniform(0.88, 1.12) for _ in "rgb"]
    picture = picture.point([min(255, int(value * part)) for part in light for value in range(256)])
    return picture.filter(ImageFilter.GaussianBlur(chance.uniform(0, 1.4)))


def _colour(hsv: tuple[float, float, float], chance: random.Random, spread: float = 1.0) -> Colour:
    hue = (hsv[0] + chance.uniform(-0.025, 0.025) * spread) % 1
    saturation = min(1.0, max(0.0, hsv[1] + chance.uniform(-0.12, 0.12) * spread))
    value = min(1.0, max(0.05, hsv[2] + chance.uniform(-0.12, 0.12) * spread))
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return int(red * 255), int(green * 255), int(blue * 255)


def _texture(width: int, height: int, cells: int, depth: int, chance: random.Random) -> Image.Image:
    """Smooth random light and dark of ``depth`` around 128, as a grey picture."""
    grain = Image.frombytes("L", (cells, cells), chance.randbytes(cells * cells))
    grain = grain.point([128 + (value - 128) * depth // 128 for value in range(256)])
    return grain.resize((width, height), Image.Resampling.BICUBIC)


def _surroundings(width: int, height: int, chance: random.Random) -> Image.Image:
    """Ground and what is behind it, in any colours: the background says nothing about the breed."""
    behind = _colour((chance.random(), chance.uniform(0.05, 0.4), chance.uniform(0.45, 0.95)), chance)
    ground = _colour((chance.uniform(0.05, 0.4), chance.uniform(0.1, 0.6), chance.uniform(0.3, 0.8)), chance)
    picture = Image.new("RGB", (width, height), behind)
    draw_on = ImageDraw.Draw(picture)
    horizon = int(height * chance.uniform(0.35, 0.75))
    for _ in range(chance.randint(0, 4)):
        shade = _colour((chance.random(), chance.uniform(0, 0.5), chance.uniform(0.2, 0.95)), chance)
        x, y = chance.randint(-20, width), chance.randint(-20, horizon)
        box = (x, y, x + chance.randint(15, 80), y + chance.randint(15, 80))
        (draw_on.ellipse if chance.random() < 0.5 else draw_on.rectangle)(box, shade)
    draw_on.rectangle((0, horizon, width, height), ground)
    return _with_texture(picture, chance, 24, 50)


def _with_texture(picture: Image.Image, chance: random.Random, cells: int, depth: int) -> Image.Image:
    texture = _texture(*picture.size, cells, depth, chance)
    return Image.blend(picture, Image.merge("RGB", [texture] * 3), 0.25)


def _foreground(draw_on: ImageDraw.ImageDraw, width: int, height: int, chance: random.Random) -> None:
    shade = _colour((chance.uniform(0.15, 0.4), 0.5, chance.uniform(0.25, 0.6)), chance)
    for _ in range(chance.choice((0, 0, 8, 25))):
        x = chance.randint(0, width)
        top = height - chance.randint(5, height // 5)
        draw_on.line((x, height, x + chance.randint(-8, 8), top), shade, 2)


def _dog(breed: Breed, chance: random.Random) -> Image.Image:
    """The dog alone, looking right, on a transparent canvas."""
    coat, marking = _colour(breed.coat, chance), _colour(breed.marking, chance)
    shape = Image.new("L", (CANVAS, CANVAS), 0)
    fur = Image.new("RGB", (CANVAS, CANVAS), coat)
    girth = breed.girth * chance.uniform(0.88, 1.15) * CANVAS
    legs = breed.legs * chance.uniform(0.85, 1.12) * CANVAS
    back, front, middle = 60 + chance.uniform(-6, 6), 150 + chance.uniform(-6, 6), 0.47 * CANVAS
    head = (front + 32 + chance.uniform(-6, 6), middle - girth - 12 + chance.uniform(-12, 10))
    skull = 20 + girth * 0.15
    outline, inside = ImageDraw.Draw(shape), ImageDraw.Draw(fur)
    feet = _body(outline, back, front, middle, girth, legs, head, skull, chance)
    _tail(outline, breed.tail, back, middle - girth * 0.5, chance)
    _mark(inside, breed.pattern, marking, (back, front, middle, girth), feet, head, skull, chance)
    fur = _with_texture(fur, chance, 60, 90)
    _face(outline, ImageDraw.Draw(fur), breed.ears, marking if breed.pattern == "saddle" else coat, head, skull)
    fur.putalpha(shape)
    return fur


def _body(outline, back, front, middle, girth, legs, head, skull, chance) -> Points:
    """Trunk, legs, neck, head and muzzle; returns where the feet are."""
    outline.ellipse((back - girth, middle - girth, back + girth, middle + girth), 255)
    chest = girth * 1.12
    outline.ellipse((front - chest, middle - chest, front + chest, middle + chest), 255)
    outline.polygon(
        [(back, middle - girth), (front, middle - chest), (front, middle + chest), (back, middle + girth * 0.8)], 255
    )
    feet: Points = []
    for x in (back - girth * 0.5, back + girth * 0.4, front - girth * 0.3, front + girth * 0.6):
        foot = (x + chance.uniform(-14, 14), middle + girth * 0.6 + legs)
        outline.line((x, middle + girth * 0.4, *foot), 255, int(9 + girth * 0.16))
        outline.ellipse((foot[0] - 7, foot[1] - 5, foot[0] + 11, foot[1] + 6), 255)
        feet.append(foot)
    outline.line((front, middle - girth * 0.4, *head), 255, int(skull * 1.5))
    outline.ellipse((head[0] - skull, head[1] - skull, head[0] + skull, head[1] + skull), 255)
    outline.rounded_rectangle(
        (head[0], head[1] - skull * 0.25, head[0] + skull * 1.9, head[1] + skull * 0.7), skull * 0.4, 255
    )
    return feet


def _tail(outline, kind: str, x: float, y: float, chance: random.Random) -> None:
    x -= 18
    if kind == "curled":
        outline.arc((x - 26, y - 52, x + 28, y + 6), 60, 330, 255, 13)
    elif kind == "raised":
        outline.line((x, y, x - chance.uniform(20, 34), y - chance.uniform(35, 50)), 255, 8)
    elif kind == "plumed":
        outline.polygon([(x, y), (x - 48, y - chance.uniform(0, 26)), (x - 44, y + 26), (x, y + 14)], 255)
    else:
        outline.line((x, y, x - chance.uniform(14, 26), y + chance.uniform(40, 60)), 255, 7)


def _mark(inside, pattern: str, colour: Colour, trunk, feet: Points, head, skull: float, chance: random.Random) -> None:
    """The coat's markings, painted on the fur before it is cut to shape."""
    back, front, middle, girth = trunk
    if pattern == "spots":
        for _ in range(chance.randint(26, 40)):
            x, y = chance.uniform(back - girth, head[0] + skull), chance.uniform(head[1] - skull, middle + girth * 2)
            radius = chance.uniform(2.5, 7.5)
            inside.ellipse((x - radius, y - radius, x + radius, y + radius * chance.uniform(0.7, 1.3)), colour)
    elif pattern == "stripes":
        x = back - girth
        while x < head[0] + skull:
            x += chance.uniform(6, 11)
            lean = chance.uniform(-10, 10)
            inside.line((x, head[1] - skull, x + lean, middle + girth * 2.2), colour, chance.randint(2, 4))
    elif pattern == "saddle":
        inside.rectangle(
            (back - girth, middle - girth * 1.3, front + 4, middle + girth * chance.uniform(-0.2, 0.25)), colour
        )
    elif pattern == "mask":
        inside.rectangle(
            (head[0] + skull * chance.uniform(-0.1, 0.3), head[1] - skull, CANVAS, head[1] + skull), colour
        )
    if pattern in ("socks", "points"):
        height = chance.uniform(16, 30)
        for x, y in feet:
            inside.rectangle((x - 14, y - height, x + 16, y + 8), colour)
    if pattern in ("points", "bib"):
        inside.rectangle((head[0] + skull * 0.4, head[1], CANVAS, head[1] + skull), colour)
    if pattern in ("socks", "bib"):
        reach = girth * chance.uniform(0.7, 1.0)
        inside.ellipse((front + 2, middle - reach, front + 2 + reach * 1.6, middle + reach * 1.4), colour)


def _face(outline, inside, ears: str, ear_colour: Colour, head, skull: float) -> None:
    x, y = head
    dark = tuple(int(part * 0.75) for part in ear_colour)
    shapes = {
        "pointed": ((-0.9, -0.4), (-0.5, -2.0), (0.2, -0.8)),
        "folded": ((-0.8, -0.6), (-0.3, -1.3), (0.2, -0.4)),
        "hanging": ((-0.7, -0.8), (-1.1, 1.2), (0.1, 0.7)),
    }
    ear = [(x + across * skull, y + down * skull) for across, down in shapes[ears]]
    outline.polygon(ear, 255)
    inside.polygon(ear, dark)
    inside.ellipse((x + skull * 0.3, y - skull * 0.45, x + skull * 0.62, y - skull * 0.1), (15, 12, 10))
    inside.ellipse((x + skull * 1.55, y - skull * 0.25, x + skull * 1.95, y + skull * 0.15), (20, 16, 15))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Draw a small data set of made-up dog breeds.")
    parser.add_argument("dest", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--breeds", type=int, choices=range(2, len(BREEDS) + 1), default=6, metavar="2..8")
    for split, count in (("train", 40), ("valid", 8), ("test", 8)):
        parser.add_argument(f"--{split}", type=int, default=count, help="pictures of each breed")
    given = parser.parse_args(arguments)
    counts = draw(given.dest, given.seed, given.breeds, given.train, given.valid, given.test)
    print(f"{given.dest}: " + " ".join(f"{split}={count}" for split, count in counts.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
