"""From a trained bundle to what the hand-written servers load: `serve_files.py BUNDLE OUT`.

model.json     numbers, categories and classes           model.onnx    the network with its softmax
model.pt       the weights                               pyfunc/       the same as a model of MLflow
Only the bundle's plain files are read; nothing of raymle is imported, here or in the servers.
"""

import json
import sys
import warnings
from pathlib import Path


def main() -> None:
    """Write all of it."""
    bundle, out = map(Path, sys.argv[1:3])
    out.mkdir(parents=True)
    contents = json.loads((bundle / "bundle.json").read_text())
    learned = json.loads((bundle / "transform.json").read_text())
    assert not any(number["flagged"] or number["part"] for number in learned["numbers"])
    about = {
        "numbers": [{key: each[key] for key in ("column", "mean", "std", "fill")} for each in learned["numbers"]],
        "categories": [
            {
                "column": each["column"],
                "missing": each["missing"],
                "size": 1 + len(each["values"]) + (each["missing"] > 0),
                "codes": {value: code for code, value in enumerate(each["values"], 1)},
            }
            for each in learned["categories"]
        ],
        "classes": learned["target"]["classes"],
        "hidden": contents["model"]["params"]["hidden"],
    }
    (out / "model.json").write_text(json.dumps(about))
    network(bundle, out, about)
    pyfunc(out)


def network(bundle: Path, out: Path, about: dict) -> None:
    """Write the weights for torch, and the network for ONNX Runtime."""
    import torch
    from safetensors.torch import load_file
    from serve_net import Net

    net = Net(about).eval()
    net.load_state_dict(load_file(bundle / "weights.safetensors"))
    torch.save(net.state_dict(), out / "model.pt")
    sample = torch.zeros(2, len(about["numbers"])), torch.zeros(2, len(about["categories"]), dtype=torch.int64)
    names = {"input_names": ["numbers", "categories"], "output_names": ["probabilities"]}
    axes = {name: {0: "rows"} for name in ("numbers", "categories", "probabilities")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, sample, out / "model.onnx", dynamo=False, dynamic_axes=axes, **names)


def pyfunc(out: Path) -> None:
    """Save the model for `mlflow models serve`."""
    import mlflow

    here = Path(__file__).parent
    mlflow.pyfunc.save_model(
        out / "pyfunc",
        python_model=str(here / "serve_pyfunc.py"),
        artifacts={"about": str(out / "model.json"), "network": str(out / "model.onnx")},
        pip_requirements=["mlflow", "onnxruntime", "pandas"],
    )


if __name__ == "__main__":
    main()
