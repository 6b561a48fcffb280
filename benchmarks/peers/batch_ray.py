"""Ray Data by the book: read_parquet, an actor with the torch network in map_batches, write_parquet.

batch_ray.py BUNDLE IN OUT     print one JSON line; Ray's start is not in its seconds
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

BUNDLE, SOURCE, TARGET = sys.argv[1:4]


class Predictor:
    def __init__(self) -> None:
        import torch

        from raymle.model import read_contents
        from raymle.model.network import with_weights

        torch.set_num_threads(1)
        contents = read_contents(Path(BUNDLE))
        self.torch = torch
        self.network = with_weights(contents.model, contents.inputs, contents.outputs, folder=Path(BUNDLE))
        state = json.loads(Path(BUNDLE, "transform.json").read_text())
        self.numbers, self.categories, self.classes = state["numbers"], state["categories"], state["target"]["classes"]
        self.words = [{word: code for code, word in enumerate(each["values"], 1)} for each in self.categories]

    def __call__(self, batch: dict) -> dict:
        values = np.empty((len(batch["id"]), len(self.numbers)), np.float32)
        for place, each in enumerate(self.numbers):
            column = batch[each["column"]].astype(np.float64)
            column[np.isnan(column)] = each["fill"]
            values[:, place] = (column - each["mean"]) / each["std"]
        codes = np.zeros((len(values), len(self.categories)), np.int64)
        for place, (each, words) in enumerate(zip(self.categories, self.words, strict=True)):
            column = batch[each["column"]]
            codes[:, place] = [each["missing"] if word is None else words.get(str(word), 0) for word in column]
        with self.torch.inference_mode():
            raw = self.network(self.torch.from_numpy(values), self.torch.from_numpy(codes))
            chances = raw.softmax(1).double().numpy()
        found = {f"probability_{name}": chances[:, place] for place, name in enumerate(self.classes)}
        return {"id": batch["id"], "prediction": np.array(self.classes)[chances.argmax(1)], **found}


def main() -> None:
    from raymle import runtime

    with runtime.connected(runtime.local("benchmark")):
        import ray.data

        ray.data.DataContext.get_current().enable_progress_bars = False
        started = time.perf_counter()
        rows = ray.data.read_parquet(SOURCE)
        predicted = rows.map_batches(
            Predictor, batch_size=8192, compute=ray.data.ActorPoolStrategy(size=2), num_cpus=0.5
        )  # with a whole CPU each nothing is left to read with on two, and it waits for ever
        predicted.write_parquet(TARGET)
        print(json.dumps({"rows": rows.count(), "seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main()
