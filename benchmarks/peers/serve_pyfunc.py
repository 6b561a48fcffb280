"""The model as MLflow serves it: pandas for preprocessing, then ONNX Runtime."""

import json

import mlflow
import numpy as np


class Late(mlflow.pyfunc.PythonModel):
    """A frame of flights to a frame of class and probabilities."""

    def load_context(self, context):
        import onnxruntime

        with open(context.artifacts["about"]) as file:  # noqa: PTH123  the file stands alone
            self.about = json.load(file)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.network = onnxruntime.InferenceSession(context.artifacts["network"], options)

    def predict(self, context, model_input, params=None):  # noqa: ARG002  MLflow's names
        numbers = np.stack(
            [
                (model_input[each["column"]].astype("float64").fillna(each["fill"]) - each["mean"]) / each["std"]
                for each in self.about["numbers"]
            ],
            1,
        ).astype(np.float32)
        codes = np.stack(
            [
                model_input[each["column"]].map(each["codes"]).fillna(0).astype("int64")
                for each in self.about["categories"]
            ],
            1,
        )
        (found,) = self.network.run(None, {"numbers": numbers, "categories": codes})
        names = self.about["classes"]
        return [
            {"class": names[int(np.argmax(row))], "probabilities": dict(zip(names, row, strict=True))}
            for row in found.tolist()
        ]


mlflow.models.set_model(Late())
