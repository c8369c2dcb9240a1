"""The model as MLflow serves it: rows with a `path` column in; label or "unknown", probability and score out.

This file is executed by MLflow (models from code); the weights are read from the safetensors file beside it.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any


def _serve() -> None:
    import mlflow
    import pandas as pd

    class Classifier(mlflow.pyfunc.PythonModel):
        def load_context(self, context: Any) -> None:
            self.checkpoint = context.artifacts["checkpoint"]

        def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
            from oltr_core.inference import predictions

            found = predictions(Path(self.checkpoint), [Path(path) for path in model_input["path"]], "champion")
            columns = ["label", "probability", "score"]
            return pd.DataFrame([asdict(p) for p in found], columns=columns)

    mlflow.models.set_model(Classifier())


_serve()
