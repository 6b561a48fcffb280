"""The model in a bare FastAPI app, one process: `serve_fastapi.py FOLDER PORT`.

What a careful engineer writes when speed matters: rows checked by pydantic, numpy and dictionaries for preprocessing,
one ONNX Runtime session on one thread, orjson, uvloop, httptools, no access log. Nothing is batched.
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import onnxruntime
import orjson
import uvicorn
from fastapi import FastAPI, Response
from pydantic import BaseModel, ConfigDict, Field

FOLDER, PORT = Path(sys.argv[1]), int(sys.argv[2])
ABOUT = json.loads((FOLDER / "model.json").read_text())
NUMBERS = [(each["column"], each["fill"]) for each in ABOUT["numbers"]]
MEAN = np.array([each["mean"] for each in ABOUT["numbers"]])
STD = np.array([each["std"] for each in ABOUT["numbers"]])
CATEGORIES = [(each["column"], {**each["codes"], None: each["missing"]}) for each in ABOUT["categories"]]
CLASSES = ABOUT["classes"]
Number = Annotated[float, Field(allow_inf_nan=False)] | None


class Row(BaseModel):
    """One flight."""

    model_config = ConfigDict(extra="forbid")

    month: Number
    day: Number
    dep_time: Number
    dep_delay: Number
    sched_arr_time: Number
    carrier: str | None
    origin: str | None
    dest: str | None
    distance: Number


class Body(BaseModel):
    """What is posted."""

    model_config = ConfigDict(extra="forbid")

    rows: list[Row] = Field(min_length=1, max_length=10_000)


def session() -> onnxruntime.InferenceSession:
    """Load the network."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(FOLDER / "model.onnx", options, providers=["CPUExecutionProvider"])


def application() -> FastAPI:
    """Return the app."""
    app = FastAPI()
    network = session()

    def encode(rows: list[Row]) -> dict[str, np.ndarray]:
        values = [[fill if (found := getattr(row, name)) is None else found for name, fill in NUMBERS] for row in rows]
        codes = [[known.get(getattr(row, name), 0) for name, known in CATEGORIES] for row in rows]
        numbers = np.clip((np.array(values) - MEAN) / STD, -1e4, 1e4).astype(np.float32)
        return {"numbers": numbers, "categories": np.array(codes, np.int64)}

    @app.post("/predict")
    async def predict(body: Body) -> Response:
        (found,) = network.run(None, encode(body.rows))
        best = found.argmax(1).tolist()
        predictions = [
            {"class": CLASSES[code], "probabilities": dict(zip(CLASSES, row, strict=True))}
            for code, row in zip(best, found.tolist(), strict=True)
        ]
        answer = orjson.dumps({"predictions": predictions, "version": "1"})
        return Response(answer, media_type="application/json", headers={"X-Model-Version": "1"})

    return app


if __name__ == "__main__":
    uvicorn.run(
        application(),
        host="127.0.0.1",
        port=PORT,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
