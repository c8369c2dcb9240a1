"""CelebA (Liu et al., ICCV 2015), read by torchvision: faces of 10,177 people with forty attributes each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from oltr_core.ingest.record import Record, SourceAccess
from oltr_core.ingest.sources.role import ImageSource
from oltr_core.spec import suggest

IDENTITY = "identity"


class CelebA(ImageSource):
    """CelebA as its authors publish it, unpacked: the class is the person or an attribute, all attributes are kept.

    An attribute is `yes` or `no`. Where the class is an attribute, the images of one person are a group.
    """

    name: Literal["celeba"] = "celeba"
    root: str  # the folder above `celeba`; torchvision checks the lists in it by their MD5
    part: Literal["all", "train", "valid", "test"] = "all"  # of the published partition, which shares no person
    label: str = IDENTITY  # or one of the attributes: Smiling, Blond_Hair, ...

    def records(self, access: SourceAccess) -> Iterator[Record]:
        found = self._open(access)
        folder = access.path(self.root) / found.base_folder / "img_align_celeba"
        names = [name for name in found.attr_names if name]
        if self.label not in (IDENTITY, *names):
            raise ValueError(f"celeba: label: there is no {self.label!r}{suggest(self.label, [IDENTITY, *names])}")
        people = found.identity[:, 0].tolist()
        for file, person, values in zip(found.filename, people, found.attr.tolist(), strict=True):
            said = {name: "yes" if value else "no" for name, value in zip(names, values, strict=True)}
            yield Record(
                f"celeba/{file}",
                folder / file,
                label=str(person) if self.label == IDENTITY else _class(self.label, said[self.label]),
                group_id=None if self.label == IDENTITY else f"{IDENTITY}:{person}",
                attributes=said,
                problem=None if (folder / file).is_file() else "missing file",
            )

    def _open(self, access: SourceAccess) -> Any:
        from torchvision.datasets import CelebA as Published  # 2.6 s to import

        try:
            return Published(str(access.path(self.root)), split=self.part)
        except RuntimeError:
            raise ValueError(
                f"celeba: {access.path(self.root) / Published.base_folder}: expected img_align_celeba and the five "
                "lists as published (attributes, identities, boxes, landmarks, partition), found others or none; "
                "download them from the authors and unpack the images"
            ) from None


def _class(attribute: str, value: str) -> str:
    return attribute if value == "yes" else f"not {attribute}"
