"""The model as MLflow serves it.

Rows with a `path` column in; for each row label or "unknown", probability, score and nearest class out, or in `error`
why the image could not be read. This file is executed by MLflow (models from code); the weights are read from the
safetensors file beside it.
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
            from oltr_core.prediction import predict_files

            found = predict_files([Path(str(path)) for path in model_input["path"]], self.model, "served")
            columns = ["label", "probability", "score", "nearest", "label_probability", "error"]
            # as objects: a missing value is null in the answer's JSON, where a column of text or numbers has NaN
            return pd.DataFrame([asdict(p) for p in found], columns=columns, dtype=object)

    mlflow.models.set_model(Classifier())


_serve()
