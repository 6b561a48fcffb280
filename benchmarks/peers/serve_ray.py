"""The model on Ray Serve as its guide to dynamic batching writes it: `serve_ray.py FOLDER PORT [ONGOING]`.

All of Serve's settings are its defaults, but that a batch waits 2 ms (a guide's 100 ms would be the whole latency) and
that ONGOING, when given, is how many requests a replica may hold: its default of 5 is also the largest batch.
"""

import json
import signal
import sys
from pathlib import Path

import ray
from ray import serve
from starlette.requests import Request

FOLDER, PORT = Path(sys.argv[1]).resolve(), int(sys.argv[2])
OPTIONS = {"max_ongoing_requests": int(sys.argv[3])} if len(sys.argv) > 3 else {}


@serve.deployment(**OPTIONS)
class Model:
    """Preprocessing by pandas, then the network, once for a batch of requests."""

    def __init__(self, folder: str, peers: str) -> None:
        sys.path.insert(0, peers)
        import torch
        from serve_net import Net

        self.about = json.loads((Path(folder) / "model.json").read_text())
        self.net = Net(self.about).eval()
        self.net.load_state_dict(torch.load(Path(folder) / "model.pt", weights_only=True))

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.002)
    async def predict(self, requests: list[list[dict]]) -> list[list[dict]]:
        """Predict all rows of some requests at once."""
        import numpy as np
        import pandas as pd
        import torch

        frame = pd.DataFrame([row for rows in requests for row in rows])
        numbers = np.stack(
            [
                ((frame[each["column"]].astype("float64").fillna(each["fill"])) - each["mean"]) / each["std"]
                for each in self.about["numbers"]
            ],
            1,
        ).astype(np.float32)
        codes = np.stack(
            [frame[each["column"]].map(each["codes"]).fillna(0).astype("int64") for each in self.about["categories"]], 1
        )
        with torch.inference_mode():
            found = self.net(torch.from_numpy(numbers), torch.from_numpy(codes)).tolist()
        names = self.about["classes"]
        answers = iter(
            [
                {"class": names[row.index(max(row))], "probabilities": dict(zip(names, row, strict=True))}
                for row in found
            ]
        )
        return [[next(answers) for _ in rows] for rows in requests]

    async def __call__(self, request: Request) -> dict:
        """Answer one request."""
        body = await request.json()
        return {"predictions": await self.predict(body["rows"]), "version": "1"}


def main() -> None:
    """Serve until the process is told to end; Ray's files go into the current folder."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ray.init(address="local", include_dashboard=False, log_to_driver=False, _temp_dir=str(Path.cwd() / "ray"))
    try:
        serve.start(http_options={"port": PORT})
        serve.run(Model.bind(str(FOLDER), str(Path(__file__).parent)))
        signal.pause()
    finally:
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main()
