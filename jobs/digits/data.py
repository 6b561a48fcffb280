"""Write scikit-learn's handwritten digits as a folder of PNGs, a sub-folder for each digit."""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

WHITE = 255
MOST_INK = 16


def build(folder: Path, *, images: int | None = None, times: int = 1, side: int = 8) -> int:
    """Write the images, the first of them if given, and return how many there are.

    Args:
        folder: Where the sub-folders appear.
        images: How many of the 1,797 digits are written; all when None.
        times: How often each is written, every time with some noise of its own.
        side: Height and width in pixels.
    """
    digits = load_digits()
    draw = np.random.default_rng(0)
    count = 0
    for pixels, label in zip(digits.images[:images], digits.target[:images], strict=True):
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        for _ in range(times):
            image = Image.fromarray((pixels * (WHITE / MOST_INK)).astype(np.uint8))
            if side != len(pixels):
                image = image.resize((side, side))
            if times > 1:
                noise = draw.normal(scale=10, size=(side, side))
                image = Image.fromarray(np.clip(np.asarray(image) + noise, 0, WHITE).astype(np.uint8))
            image.save(place / f"{count:05}.png")
            count += 1
    return count


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("digits"))
    parser.add_argument("--images", type=int)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--side", type=int, default=8)
    arguments = parser.parse_args()
    built = build(arguments.folder, images=arguments.images, times=arguments.times, side=arguments.side)
    print(built, "images in", arguments.folder)
