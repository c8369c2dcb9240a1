"""The model as MLflow serves it: this file is executed by MLflow (models from code), the weights are read from the
safetensors file beside it. Rows with a `path` column in; label or "unknown", probability and score out.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path


def _serve() -> None:
    import mlflow

    class Classifier(mlflow.pyfunc.PythonModel):
        # without type hints: MLflow would take its schema from them, and the signature has a better one
        def load_context(self, context):
            self.checkpoint = context.artifacts["checkpoint"]

        def predict(self, context, model_input, params=None):
            import pandas as pd

            from oltr_core.inference import answers

            found = answers(Path(self.checkpoint), [Path(path) for path in model_input["path"]], "champion")
            return pd.DataFrame([asdict(answer) for answer in found])[["label", "probability", "score"]]

    mlflow.models.set_model(Classifier())


_serve()
