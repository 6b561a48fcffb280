"""Is a training on a folder of images as fast as a hand-written PyTorch loop whose images are all in memory?"""

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from measured import ROOT, median, passes, ratio, timed, write
from PIL import Image

REPEATS = int(sys.argv[1]) if len(sys.argv) > 1 else 3
EPOCHS, BATCH = 3, 128
CLASSES = 10
PEER = str(ROOT / "benchmarks/peers/images_pytorch.py")
SPEC = f"""
name: images
data: {{source: images, target: label}}
model: {{type: cnn, params: {{filters: [32, 64, 64], hidden: [128], dropout: 0.1, shift: 0.1}}}}
train: {{epochs: {EPOCHS}, batch_size: {BATCH}, early_stopping: null}}
"""


def digits(folder: Path) -> str:
    """Write 19,767 grey digits of 32 x 32 pixels."""
    sys.path.insert(0, str(ROOT / "jobs/digits"))
    from data import build

    return f"{build(folder, times=11, side=32):,} digits, 32x32, grey"


def made(folder: Path, count: int = 10_000) -> str:
    """Write coloured images of 64 x 64 pixels: a light disc on noise, its place and its colour by the class."""
    draw = np.random.default_rng(0)
    across = np.arange(64)
    for number in range(count):
        label = number % CLASSES
        place = 12 + 4 * label + draw.normal(scale=3, size=2)
        disc = (across[:, None] - place[0]) ** 2 + (across[None] - place[1]) ** 2 < 100
        pixels = draw.integers(0, 120, (64, 64, 3))
        pixels[disc] += np.array([120, 12 * label, 120 - 12 * label])
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / str(label) / f"{number:05}.png", compress_level=1)
    return f"{count:,} made, 64x64, coloured"


def compared(build) -> list[str]:
    """Run the peer and raymle in turn; return the lines of one table row each."""
    raymle = [str(Path(sys.executable).parent / "raymle"), "train", "--json"]
    peer = [sys.executable, PEER, "images", str(EPOCHS), str(BATCH)]
    ours, theirs, speeds = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        what = build(folder / "images")
        (folder / "raymle.yaml").write_text(SPEC)
        for _ in range(REPEATS):
            theirs.append(timed(peer, folder))
            ours.append(timed(raymle, folder))
            speeds.append(passes(folder, ours[-1]["answer"]))
            shutil.rmtree(folder / "runs")
    speed = [speeds, [run["answer"]["rows_per_second"] for run in theirs]]
    whole = [[run["seconds"] for run in runs] for runs in (ours, theirs)]
    memory = [[run["memory_mb"] for run in runs] for runs in (ours, theirs)]
    right = [ours[-1]["answer"]["metrics"]["validation"]["accuracy"], theirs[-1]["answer"]["accuracy"]]
    return [
        f"| {what}: images/s | {median(speed[0])} | {median(speed[1])} | {ratio(*speed):.2f} | >= 0.95 |",
        f"| whole process, s | {median(whole[0])} | {median(whole[1])} | {ratio(*whole):.2f} | |",
        f"| peak memory, MB | {median(memory[0])} | {median(memory[1])} | {ratio(*memory):.2f} | |",
        f"| accuracy | {right[0]:.4f} | {right[1]:.4f} | {right[0] - right[1]:+.4f} | |",
    ]


def main() -> None:
    write("images", [
        "# A training on a folder of images against a hand-written PyTorch loop",
        "",
        f"cnn 32-64-64, hidden 128, images moved at random, {EPOCHS} epochs, batch {BATCH};",
        f"{REPEATS} interleaved runs, median (range). The peer reads the same PNGs into memory first, and its",
        "DataLoader takes whole batches from there. images/s are those of the passes over the train images. raymle",
        "lays out images pixel by pixel and pools before the non-linearity; the peer is as torch's tutorials write it.",
        "",
        "| | raymle | hand-written | ratio | target |",
        "|--|--|--|--|--|",
        *compared(digits),
        *compared(made),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
