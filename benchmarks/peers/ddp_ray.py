"""The by-the-book peer: Ray Data prepares with its own preprocessors, Ray Train trains with two DDP workers.

Prints one JSON line: AUC on validation, seconds of each part.
"""

import json
import logging
import os
import sys
import tempfile
import time

START = time.perf_counter()
os.environ["RAY_AUTH_MODE"] = "disabled"  # its own Ray, for the length of this script

import numpy as np  # noqa: E402
import ray  # noqa: E402
import ray.train  # noqa: E402
import torch  # noqa: E402
from ray.data.preprocessors import Chain, OrdinalEncoder, StandardScaler  # noqa: E402
from ray.train.torch import TorchTrainer, prepare_model  # noqa: E402
from torch import nn  # noqa: E402

SOURCE = sys.argv[1]
EPOCHS, BATCH, WORKERS = 5, 1024, 2
CATEGORIES = ["carrier", "flight", "tailnum", "origin", "dest"]
NUMBERS = ["month", "day", "dep_time", "sched_dep_time", "dep_delay", "sched_arr_time", "distance", "hour"]


class Net(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        widths = [min(50, int(np.ceil(1.6 * size**0.56))) for size in sizes]
        self.embeddings = nn.ModuleList(nn.Embedding(size, width) for size, width in zip(sizes, widths, strict=True))
        self.layers = nn.Sequential(
            nn.Linear(len(NUMBERS) + sum(widths), 256), nn.ReLU(), nn.Dropout(0.1),
            nn.Linear(256, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 2),
        )  # fmt: skip

    def forward(self, numbers, codes):
        embedded = [table(codes[:, i]) for i, table in enumerate(self.embeddings)]
        return self.layers(torch.cat([numbers, *embedded], 1))


def tensors(batch):
    numbers = torch.stack([batch[name].float() for name in NUMBERS], 1)
    codes = torch.stack([batch[name].long() + 1 for name in CATEGORIES], 1)  # -1: unseen
    return numbers, codes, batch["late"].long()


def loop(config):
    from sklearn.metrics import roc_auc_score

    entered = time.time()
    model = prepare_model(Net(config["sizes"]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loss_of = nn.CrossEntropyLoss()
    shard, held = ray.train.get_dataset_shard("train"), ray.train.get_dataset_shard("validation")
    started = time.time()
    for _ in range(EPOCHS):
        model.train()
        for batch in shard.iter_torch_batches(
            batch_size=BATCH // WORKERS, drop_last=True, local_shuffle_buffer_size=20_000
        ):
            numbers, codes, target = tensors(batch)
            loss = loss_of(model(numbers, codes), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        ray.train.report({"loss": loss.item()})
    trained = time.time()
    model.eval()
    chances, truth = [], []
    with torch.no_grad():
        for batch in held.iter_torch_batches(batch_size=8192):
            numbers, codes, target = tensors(batch)
            chances.append(model(numbers, codes).softmax(1)[:, 1])
            truth.append(target)
    area = roc_auc_score(torch.cat(truth), torch.cat(chances))
    return {"roc_auc": float(area), "entered": entered, "train": trained - started}


def main():
    imported = time.perf_counter()
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    began = time.perf_counter()
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.default_hash_shuffle_parallelism = 2
    rows = ray.data.read_parquet(SOURCE, columns=[*NUMBERS, *CATEGORIES, "late"])
    rows = rows.map_batches(
        lambda frame: frame.assign(late=(frame["late"] == "yes").astype("int64")), batch_format="pandas"
    )
    train, rest = rows.train_test_split(0.2, shuffle=True, seed=0)
    held, _ = rest.train_test_split(0.5)
    chain = Chain(StandardScaler(NUMBERS), OrdinalEncoder(CATEGORIES)).fit(train)
    sizes = [len(chain.preprocessors[1].stats_[f"unique_values({name})"]) + 1 for name in CATEGORIES]
    train = chain.transform(train).map_batches(lambda frame: frame.fillna(-1), batch_format="pandas").materialize()
    held = chain.transform(held).map_batches(lambda frame: frame.fillna(-1), batch_format="pandas").materialize()
    prepared, wall = time.perf_counter(), time.time()
    with tempfile.TemporaryDirectory() as folder:
        result = TorchTrainer(
            loop,
            train_loop_config={"sizes": sizes},
            scaling_config=ray.train.ScalingConfig(num_workers=WORKERS, resources_per_worker={"CPU": 0.5}),
            datasets={"train": train, "validation": held},
            run_config=ray.train.RunConfig(storage_path=folder),
        ).fit()
    fitted, found = time.perf_counter(), result.return_value
    ray.shutdown()
    print(json.dumps({
        "roc_auc": found["roc_auc"], "import": imported - START, "ray": began - imported, "prepare": prepared - began,
        "until the loop": found["entered"] - wall, "train": found["train"], "fit": fitted - prepared,
        "total": time.perf_counter() - START,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
