"""The hand-written peer: a folder of PNGs into memory, a DataLoader over it, three convolutions, AdamW.

The DataLoader is tuned: it takes a batch at one time (``__getitems__``) and has no worker processes, which on two cores
only take time from the network. Prints one JSON line.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

START = time.perf_counter()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.utils.data import DataLoader, Dataset  # noqa: E402

SOURCE, EPOCHS, BATCH = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
torch.manual_seed(0)


class Cached(Dataset):
    def __init__(self, pixels, labels):
        self.pixels, self.labels = pixels, labels

    def __len__(self):
        return len(self.labels)

    def __getitems__(self, places):
        rows = torch.as_tensor(places)
        return self.pixels[rows], self.labels[rows]


def read(path):
    found = np.asarray(Image.open(path))
    return found[None] if found.ndim == 2 else found.transpose(2, 0, 1)


def moved(images, share=0.1):
    count, channels, height, width = images.shape
    most = round(share * height)
    rows = torch.randint(2 * most + 1, (count, 1)) + torch.arange(height)
    columns = torch.randint(2 * most + 1, (count, 1)) + torch.arange(width)
    padded = functional.pad(images, (most, most, most, most))
    down = rows[:, None, :, None].expand(count, channels, height, padded.shape[3])
    return padded.gather(2, down).gather(3, columns[:, None, None, :].expand(count, channels, height, width))


class Net(nn.Module):
    def __init__(self, channels, side, classes):
        super().__init__()
        layers = []
        for filters in (32, 64, 64):
            layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            channels, side = filters, side // 2
        layers += [nn.Flatten(), nn.Linear(channels * side * side, 128), nn.ReLU(), nn.Dropout(0.1)]
        self.layers = nn.Sequential(*layers, nn.Linear(128, classes))

    def forward(self, pixels):
        images = pixels.float() / 255
        if self.training:
            images = moved(images)
        return self.layers((images - 0.5) / 0.25)


paths = sorted(SOURCE.glob("*/*.png"))
classes = sorted({path.parent.name for path in paths})
with ThreadPoolExecutor(2) as pool:
    pixels = torch.from_numpy(np.stack(list(pool.map(read, paths))))
labels = torch.tensor([classes.index(path.parent.name) for path in paths])
side = torch.rand(len(labels))
parts = [torch.nonzero(where)[:, 0] for where in (side < 0.8, (side >= 0.8) & (side < 0.9))]
train, held = (Cached(pixels[part], labels[part]) for part in parts)
loader = DataLoader(train, BATCH, shuffle=True, collate_fn=lambda batch: batch)
model = Net(pixels.shape[1], pixels.shape[2], len(classes))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
loss_of = nn.CrossEntropyLoss()
prepared = time.perf_counter()

training = best = 0.0
for epoch in range(EPOCHS):
    started = time.perf_counter()
    model.train()
    total = torch.zeros(())
    for batch, target in loader:
        loss = loss_of(model(batch), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(target)
    training += time.perf_counter() - started
    model.eval()
    with torch.inference_mode():
        said = torch.cat([model(part).argmax(1) for part in held.pixels.split(1024)])
    accuracy = (said == held.labels).float().mean().item()
    best = max(best, accuracy)
    print(f"epoch {epoch + 1}: loss {total.item() / len(train):.4f} accuracy {accuracy:.4f}", file=sys.stderr)

print(json.dumps({
    "accuracy": best, "rows_per_second": EPOCHS * len(train) / training, "train": training,
    "prepare": prepared - START, "total": time.perf_counter() - START,
}))  # fmt: skip
