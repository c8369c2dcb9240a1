"""Where images come from: small files, chosen by `name` in params.yaml: sources.

A source is a Spec whose call yields `Record`s in a fixed order.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from oltr_core.ingest.sources.camtrap_dp import CamtrapDp
from oltr_core.ingest.sources.celeba import CelebA
from oltr_core.ingest.sources.coco import Coco
from oltr_core.ingest.sources.coco_camera_traps import CocoCameraTraps
from oltr_core.ingest.sources.digits import Digits
from oltr_core.ingest.sources.folder import Folder, Identities, Unlabelled
from oltr_core.ingest.sources.image_list import ImageList
from oltr_core.ingest.sources.parquet import Parquet
from oltr_core.ingest.sources.table import Table
from oltr_core.ingest.sources.torchvision import Torchvision
from oltr_core.settings.operations import RawBatch
from oltr_core.settings.reading import as_written
from oltr_core.spec import parse

Source = Annotated[
    Digits  # 1,797 handwritten digit scans carried by scikit-learn; needs no download
    | Folder  # a folder per class
    | Unlabelled  # a folder of images nobody has named
    | Table  # CSV or Parquet: path or s3:// URI, label, group, time, split, anything else
    | Parquet  # images in Parquet files, as on the Hugging Face hub
    | ImageList  # the list files of ImageNet-LT, Places-LT, SUN-LT, MS1M-LT, iNaturalist 2018
    | Coco  # COCO classification JSON
    | CocoCameraTraps  # the same with locations, sequences, empty pictures and boxes
    | CamtrapDp  # a Camera Trap Data Package
    | Identities  # a folder per identity (MS1M)
    | CelebA  # faces with forty attributes; the class is a person or an attribute
    | Torchvision,  # CIFAR-10/100, EuroSAT, Imagenette, by download
    Field(discriminator="name"),
]


def parse_sources(batch: RawBatch) -> list[Source]:
    """The sources of a batch. Raises ValueError naming the key in params.yaml."""
    try:
        return parse(list[Source], batch.sources, f"params.yaml: sources.{batch.batch}")
    except ValueError as error:
        raise ValueError(as_written(str(error), {"sources": {batch.batch: batch.sources}})) from None
