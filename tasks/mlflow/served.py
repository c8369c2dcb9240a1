"""The model as MLflow serves it.

Rows with an image in, in `image` or `path`; for each row label or "unknown", probability, score, nearest class and
the best classes out, or in `error` why the image could not be read. This file is executed by MLflow (models from
code); the weights are read from the safetensors file beside it.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any


def _serve() -> None:
    import mlflow
    import pandas as pd

    class Classifier(mlflow.pyfunc.PythonModel):
        def load_context(self, context: Any) -> None:
            from oltr_core import checkpoint

            self.model = checkpoint.load(Path(context.artifacts["checkpoint"]))

        def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
            from oltr_core.prediction import predict_rows

            if model_input.columns.empty:  # MLflow drops columns that it does not know, and then the rows with them
                raise ValueError("expected rows with image or path, found neither")
            rows = model_input.to_dict("records")
            found = predict_rows(rows, self.model, "served", (params or {}).get("top_k", 1))
            columns = ["label", "probability", "score", "nearest", "label_probability", "error", "top"]
            # as objects: a missing value is null in the answer's JSON, where a column of text or numbers has NaN
            return pd.DataFrame([asdict(p) for p in found], columns=columns, dtype=object)

    mlflow.models.set_model(Classifier())


_serve()
