"""The hand-written peer: pyarrow batches, numpy encoding, one ONNX Runtime session, pyarrow out.

    batch_onnx.py export BUNDLE MODEL.onnx            write the network as ONNX; not measured
    batch_onnx.py predict BUNDLE MODEL.onnx IN OUT    predict, and print one JSON line

It takes from the bundle only what it would have been given anyway: means, deviations, fills and vocabularies.
"""

import json
import sys
import time
from pathlib import Path

START = time.perf_counter()

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.compute as pc  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

ROWS = 4096
"""Of 2,048 to 131,072 the quickest here."""


def export(bundle: str, target: str) -> None:
    import torch

    from raymle.model import read_contents
    from raymle.model.network import with_weights

    contents = read_contents(Path(bundle))
    inputs = contents.inputs
    network = with_weights(contents.model, inputs, contents.outputs, folder=Path(bundle))
    example = {
        "numbers": torch.zeros(8, inputs.numbers),
        "categories": torch.zeros(8, len(inputs.categories), dtype=torch.int64),
    }
    torch.onnx.export(
        network, kwargs=example, f=target, dynamo=True, external_data=False, verbose=False,
        dynamic_shapes={name: {0: "rows"} for name in example},
    )  # fmt: skip


def predict(bundle: str, model: str, source: str, target: str) -> None:
    import onnxruntime

    state = json.loads(Path(bundle, "transform.json").read_text())
    numbers, categories, classes = state["numbers"], state["categories"], state["target"]["classes"]
    words = [pa.array(each["values"]) for each in categories]
    means, deviations = (np.array([each[name] for each in numbers], np.float32) for name in ("mean", "std"))
    session = onnxruntime.InferenceSession(model)
    names = ["id", *(each["column"] for each in numbers), *(each["column"] for each in categories)]
    rows, writer = 0, None
    for batch in pq.ParquetFile(source).iter_batches(batch_size=ROWS, columns=names):
        values = np.empty((batch.num_rows, len(numbers)), np.float32)
        for place, each in enumerate(numbers):
            values[:, place] = pc.fill_null(batch[each["column"]].cast(pa.float32()), each["fill"]).to_numpy()
        values = (values - means) / deviations
        codes = np.zeros((batch.num_rows, len(categories)), np.int64)
        for place, (each, known) in enumerate(zip(categories, words, strict=True)):
            column = batch[each["column"]].cast(pa.string())
            found = pc.fill_null(pc.index_in(column, known), -1).to_numpy() + 1
            missing = column.is_null().to_numpy(zero_copy_only=False)
            codes[:, place] = np.where(missing, each["missing"], found)
        raw = session.run(None, {"numbers": values, "categories": codes})[0]
        chances = np.exp(raw - raw.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        prediction = pa.DictionaryArray.from_arrays(chances.argmax(axis=1).astype(np.int32), pa.array(classes))
        columns = {f"probability_{name}": chances[:, place] for place, name in enumerate(classes)}
        table = pa.table({"id": batch["id"], "prediction": prediction, **columns})
        writer = writer or pq.ParquetWriter(target, table.schema)
        writer.write_table(table)
        rows += batch.num_rows
    writer.close()
    print(json.dumps({"rows": rows, "seconds": time.perf_counter() - START}))


if __name__ == "__main__":
    {"export": export, "predict": predict}[sys.argv[1]](*sys.argv[2:])
