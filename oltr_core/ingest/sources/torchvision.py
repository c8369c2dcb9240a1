"""Data sets that torchvision downloads: the CIFARs in their own order, and those it keeps as a folder per class."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from oltr_core.ingest.record import Record, SourceAccess
from oltr_core.ingest.sources.role import ImageSource


class Torchvision(ImageSource):
    """Data sets that torchvision downloads.

    With `draw: {tail: {name: exponential, ratio: 100}}` the training set of CIFAR is the published CIFAR-LT,
    image for image.
    """

    name: Literal["torchvision"] = "torchvision"
    dataset: Literal["CIFAR10", "CIFAR100", "EuroSAT", "Imagenette"]
    root: str = "downloads"  # where it is kept; torchvision checks what is there by its MD5
    train: bool = True  # the training part, or the test part; EuroSAT has one part only
    download: bool = True  # false: it must be there already

    def records(self, access: SourceAccess) -> Iterator[Record]:
        found = self._open(access)
        part = "train" if self.train else "test"
        if hasattr(found, "data"):  # the CIFARs: pixels in memory
            for number, (pixels, target) in enumerate(zip(found.data, found.targets, strict=True)):
                yield Record(f"{self.dataset}/{part}/{number:05d}", pixels, found.classes[target])
            return
        names = _names(found)
        for path, target in found.samples if hasattr(found, "samples") else found._samples:
            yield Record(f"{self.dataset}/{Path(path).name}", Path(path), names[target])

    def labels(self, access: SourceAccess) -> list[str | None]:
        found = self._open(access)
        return [found.classes[t] for t in found.targets] if hasattr(found, "data") else super().labels(access)

    def classes(self, access: SourceAccess) -> list[str]:
        return _names(self._open(access))

    def _open(self, access: SourceAccess) -> Any:
        from torchvision import datasets  # 2.6 s to import

        where: dict[str, Any] = {"root": access.path(self.root), "download": self.download}
        if self.dataset == "Imagenette":
            where["split"] = "train" if self.train else "val"
        elif self.dataset != "EuroSAT":
            where["train"] = self.train
        try:
            return getattr(datasets, self.dataset)(**where)
        except RuntimeError as error:
            raise ValueError(f"{self.dataset}: not in {where['root']} ({error}); set `download: true`") from None


def _names(found: Any) -> list[str]:
    return [name if isinstance(name, str) else name[0] for name in found.classes]
