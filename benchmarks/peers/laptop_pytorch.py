"""The hand-written peer: one straight PyTorch script from the flights parquet to a saved model.

Prints one JSON line: AUC on validation, training rows/s, seconds of each part.
"""

import json
import sys
import time

START = time.perf_counter()

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from sklearn.metrics import roc_auc_score  # noqa: E402
from torch import nn  # noqa: E402

SOURCE, OUT = sys.argv[1], sys.argv[2]
EPOCHS, BATCH = 5, 1024
CATEGORIES = ["carrier", "tailnum", "origin", "dest"]
NUMBERS = [
    "month", "day", "dep_time", "sched_dep_time", "dep_delay", "sched_arr_time", "flight", "distance", "hour",
    "epoch_day", "weekday", "year_day",
]  # fmt: skip

torch.manual_seed(0)
imported = time.perf_counter()

frame = pd.read_parquet(SOURCE)
when = pd.to_datetime(frame["time_hour"], utc=True)
frame["epoch_day"] = when.astype("int64") / when.astype("int64").max()
frame["weekday"] = when.dt.dayofweek
frame["year_day"] = when.dt.dayofyear
side = np.random.default_rng(0).choice(3, len(frame), p=[0.8, 0.1, 0.1])
train, validation = frame[side == 0], frame[side == 1]

mean, std = train[NUMBERS].mean(), train[NUMBERS].std()
maps = {}
for name in CATEGORIES:
    values = train[name].value_counts().index
    maps[name] = {value: code + 1 for code, value in enumerate(values)}
sizes = [len(maps[name]) + 1 for name in CATEGORIES]


def encode(part):
    numbers = ((part[NUMBERS] - mean) / std).fillna(0).to_numpy(np.float32)
    codes = np.stack([part[name].map(maps[name]).fillna(0).to_numpy(np.int64) for name in CATEGORIES], 1)
    target = (part["late"] == "yes").to_numpy(np.int64)
    return torch.from_numpy(numbers), torch.from_numpy(codes), torch.from_numpy(target)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        widths = [min(50, int(np.ceil(1.6 * size**0.56))) for size in sizes]
        self.embeddings = nn.ModuleList(nn.Embedding(size, width) for size, width in zip(sizes, widths, strict=True))
        self.layers = nn.Sequential(
            nn.Linear(len(NUMBERS) + sum(widths), 256), nn.ReLU(), nn.Dropout(0.1),
            nn.Linear(256, 128), nn.ReLU(), nn.Dropout(0.1),
            nn.Linear(128, 2),
        )  # fmt: skip

    def forward(self, numbers, codes):
        embedded = [table(codes[:, i]) for i, table in enumerate(self.embeddings)]
        return self.layers(torch.cat([numbers, *embedded], 1))


numbers, codes, target = encode(train)
held_numbers, held_codes, held_target = encode(validation)
model = Net()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
loss_of = nn.CrossEntropyLoss()
prepared = time.perf_counter()

training = best = 0.0
for epoch in range(EPOCHS):
    started = time.perf_counter()
    model.train()
    order = torch.randperm(len(target))
    total = 0.0
    for batch in order.split(BATCH):
        loss = loss_of(model(numbers[batch], codes[batch]), target[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(batch)
    model.eval()
    with torch.no_grad():
        chances = model(held_numbers, held_codes).softmax(1)[:, 1].numpy()
    auc = roc_auc_score(held_target.numpy(), chances)
    training += time.perf_counter() - started
    best = max(best, auc)
    print(f"epoch {epoch + 1}: loss {total / len(target):.4f} auc {auc:.4f}", file=sys.stderr)

torch.save({"model": model.state_dict(), "maps": maps, "mean": mean.to_dict(), "std": std.to_dict()}, OUT)
print(json.dumps({
    "roc_auc": float(best), "rows_per_second": EPOCHS * len(target) / training, "train": training,
    "import": imported - START, "prepare": prepared - imported, "total": time.perf_counter() - START,
}))  # fmt: skip
