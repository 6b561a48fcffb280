"""The hand-written peer: one straight PyTorch loop over tokens that were made before, with a DataLoader that is tuned.

Takes a .npz of codes and targets, the network and the epochs; prints one JSON line with texts/s of the passes
over the train texts.
"""

import json
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy, embedding_bag
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

SOURCE, KIND, EPOCHS, BATCH = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
VOCABULARY, WIDTH, STATE, HIDDEN = 1 << 15, 64, 128, 64


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH, padding_idx=0)
        self.lstm = nn.LSTM(WIDTH, STATE, batch_first=True) if KIND == "lstm" else None
        width = STATE if KIND == "lstm" else WIDTH
        self.layers = nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes))

    def forward(self, codes):
        there = codes != 0
        counts = there.sum(1)
        if self.lstm is None:
            summed = embedding_bag(codes[there], self.words.weight, counts.cumsum(0) - counts, mode="sum")
        else:
            states, _ = self.lstm(self.words(codes))
            summed = (states * there[:, :, None]).sum(1)
        return self.layers(summed / counts.clamp(min=1)[:, None])


class Rows(Dataset):
    """Whole batches by their places: no row is collated by itself."""

    def __init__(self, codes, target):
        self.codes, self.target = torch.from_numpy(codes).long(), torch.from_numpy(target)

    def __len__(self):
        return len(self.target)

    def __getitem__(self, places):
        return self.codes[places], self.target[places]


def main():
    torch.manual_seed(0)
    arrays = np.load(SOURCE)
    train, held = (Rows(arrays[f"{side}_codes"], arrays[f"{side}_target"]) for side in ("train", "validation"))
    batches = DataLoader(train, sampler=BatchSampler(RandomSampler(train), BATCH, drop_last=False), batch_size=None)
    model = Net(int(arrays["classes"]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, fused=True)
    seconds = best = 0.0
    for _ in range(EPOCHS):
        started = time.perf_counter()
        model.train()
        for codes, target in batches:
            optimizer.zero_grad()
            cross_entropy(model(codes), target).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        seconds += time.perf_counter() - started
        model.eval()
        with torch.no_grad():
            said = torch.cat([model(codes).argmax(1) for codes in held.codes.split(2048)])
        best = max(best, float((said == held.target).float().mean()))
    print(json.dumps({"texts_per_second": EPOCHS * len(train) / seconds, "accuracy": best}))


if __name__ == "__main__":
    main()
