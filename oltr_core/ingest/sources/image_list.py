"""The list files of long-tailed benchmarks: a line per image, `path label`.

ImageNet-LT, Places-LT and iNaturalist 2018 publish their splits so, open sets included (label -1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from oltr_core.ingest.record import Record, SourceAccess
from oltr_core.ingest.sources.files import located
from oltr_core.ingest.sources.role import ImageSource
from oltr_core.schema import UNKNOWN

_LINE = re.compile(r"^(?P<path>.+?)\s+(?P<label>-?\d+)$")
SHOWN = 5  # missing files named one by one


class ImageList(ImageSource):
    """A text file with a path and a label per line."""

    name: Literal["image_list"] = "image_list"
    path: str  # the list file
    root: str  # the folder or s3:// prefix that the paths in it start from
    classes_file: str = ""  # a name per line, in the order of the labels; empty: the label itself is the name
    open_label: str = UNKNOWN  # what images of label -1 are called
    allow_missing: bool = False  # true: missing files go to quarantine instead of stopping the run
    follow_links: bool = True  # data sets are often links to where there is room

    def records(self, access: SourceAccess) -> Iterator[Record]:
        root, lines = access.place(self.root), list(self._lines(access))
        if isinstance(root, Path) and not self.allow_missing:
            self._refuse_missing([where for _, where, _, problem in lines if problem is None], root)
        for number, where, label, problem in lines:
            content, wrong = (b"", problem) if problem else located(where, root, self.follow_links)
            yield Record(where or f"{self.path}:{number}", content, label, problem=wrong)

    def labels(self, access: SourceAccess) -> list[str | None]:
        return [label for _, _, label, _ in self._lines(access)]

    def classes(self, access: SourceAccess) -> list[str]:
        found = {label for label in self.labels(access) if label is not None}
        return self._names(access) or sorted(found - {self.open_label}, key=int)

    def _names(self, access: SourceAccess) -> list[str]:
        return self._text(self.classes_file, access).splitlines() if self.classes_file else []

    def _text(self, path: str, access: SourceAccess) -> str:
        return access.read(path, "a list of images").decode()

    def _lines(self, access: SourceAccess) -> Iterator[tuple[int, str, str | None, str | None]]:
        """Line number, path, label, and what is wrong with the line."""
        names = self._names(access)
        for number, line in enumerate(self._text(self.path, access).splitlines(), start=1):
            if not line.strip():
                continue
            found = _LINE.match(line.strip())
            if found is None:
                yield number, "", None, f"a line that is no `path label`: {line.strip()[:60]!r}"
                continue
            code = int(found["label"])
            label = self.open_label if code == -1 else str(code)
            if names and code >= 0:
                label = names[code] if code < len(names) else None
            problem = (
                None
                if label is not None
                else f"the label {code} has no name among the {len(names)} of the classes file"
            )
            yield number, found["path"], label, problem

    def _refuse_missing(self, paths: list[str], root: Path) -> None:
        """Before any work: images are decoded for hours, and a wrong root shows in a second."""
        missing = [path for path in paths if not (root / path).exists()]
        if missing:
            first = ", ".join(missing[:SHOWN])
            raise ValueError(
                f"{self.path}: {len(missing)} of {len(paths)} files are not below {root}, the first: {first}; "
                "correct `root`, or set `allow_missing: true` to go on without them"
            )
