"""The model as MLflow serves it: this file is executed by MLflow (models from code), the weights are read from the
safetensors file beside it. Rows with a `path` column in; label or "unknown", probability and score out.
"""

from __future__ import annotations

from typing import Any


def _serve() -> None:
    import mlflow

    class Classifier(mlflow.pyfunc.PythonModel):
        def load_context(self, context: Any) -> None:
            self.checkpoint = context.artifacts["checkpoint"]

        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            import pandas as pd

            from oltr_core.inference import predict

            answers = predict(self.checkpoint, [str(path) for path in model_input["path"]])
            return pd.DataFrame(answers)[["label", "probability", "score"]]

    mlflow.models.set_model(Classifier())


_serve()
