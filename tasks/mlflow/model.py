"""The model of a generation as MLflow keeps it: a pyfunc whose code is a file and whose weights are our own file."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from oltr_core.layout import Generation

SERVED = Path(__file__).with_name("served.py")
#: what served.py and oltr_core.prediction import, and what those import in turn and pip might leave out
SERVING = (
    "mlflow", "numpy", "pandas", "pillow", "pyarrow", "pydantic", "safetensors", "timm", "torch", "torchvision",
    "tqdm",
)  # fmt: skip
TOP_K = 5  # of the best classes in a row of its answer, unless the request says how many
#: a grey PNG of 8 x 8 pixels: an image of the workspace would have to be forgotten here too
EXAMPLE = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAEElEQVR42mNsYIAAJgaKGAAmCACQtTEKkQAAAABJRU5ErkJggg=="
#: text, for base64; MLflow passes on bytes and lists of pixels as they come
COLUMNS = {"image": "string", "path": "string"}
ANSWER = {"label": "string", "probability": "double", "score": "double", "nearest": "string"}
ANSWER |= {"label_probability": "double", "error": "string"}


def log(generation: Generation, tags: dict[str, str]) -> Any:
    """Log it in the run that is active; it is computed nowhere, so torch is not imported."""
    import mlflow
    import pandas as pd
    from mlflow.models import Model

    import oltr_core

    def save(validate_serving_input: bool, **given: Any) -> None:
        mlflow.pyfunc.save_model(**given)

    return Model.log(
        # what mlflow.pyfunc.log_model does, but for loading the model in this process to try the example
        artifact_path=None,
        flavor=SimpleNamespace(save_model=save),
        flavor_name="pyfunc.ModelFromCode",
        validate_serving_input=False,
        name=f"generation-{generation.name}",
        python_model=str(SERVED),
        artifacts={"checkpoint": generation.model.resolve().as_uri()},
        code_paths=[str(Path(oltr_core.__file__).parent)],
        signature=_signature(),
        input_example=(pd.DataFrame({"image": [EXAMPLE]}), {"top_k": TOP_K}),
        pip_requirements=requirements(),
        step=int(generation.name),
        tags={key: tags[key] for key in ("oltr.generation", "oltr.digest")},
    )


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Array, ColSpec, DataType, Object, ParamSchema, ParamSpec, Property, Schema

    asked, answer = (
        [ColSpec(kind, name, required=False) for name, kind in columns.items()] for columns in (COLUMNS, ANSWER)
    )
    best = Array(Object([Property("label", "string"), Property("probability", "double")]))
    answer.append(ColSpec(best, "top", required=False))
    top_k = ParamSchema([ParamSpec("top_k", DataType.long, TOP_K)])
    return ModelSignature(Schema(asked), Schema(answer), top_k)  # pyright: ignore[reportArgumentType]


def requirements() -> list[str]:
    """What the model needs where it is served, in the versions that are in use here."""
    return [f"{name}=={metadata.version(name).partition('+')[0]}" for name in SERVING]
