"""What a model says of images of a folder, a list or a prefix: streamed, with a row also for what is no image."""

from oltr_core.prediction.addresses import images_at
from oltr_core.prediction.files import opened
from oltr_core.prediction.gallery import gallery
from oltr_core.prediction.ingested import of_boxes, predict_batch
from oltr_core.prediction.predictions import Prediction
from oltr_core.prediction.requests import predict_rows
from oltr_core.prediction.run import limits_of, loaded, predict, predictions

__all__ = [
    "Prediction", "gallery", "images_at", "limits_of", "loaded", "of_boxes", "opened", "predict", "predict_batch",
    "predict_rows", "predictions",
]  # fmt: skip
