"""code: digests of the code that each stage executes, one file per stage, which that stage depends on.

A workspace holds no code and no link to any: what its results depend on is the package that is installed.
"""

from __future__ import annotations

import json

from oltr_core.files import write_atomically
from oltr_core.layout import Layout
from oltr_core.pipeline import TABLE, code_digests
from oltr_core.spec import Spec


class Parameters(Spec):
    """This stage reads no section of params.yaml."""


def run(params: Parameters, layout: Layout) -> None:
    """Write data/work/code/<stage>.json for every stage; a file that would not change is left as it is."""
    for stage in TABLE:
        path, text = layout.work.code(stage.name), json.dumps(code_digests(stage), indent=1) + "\n"
        if not path.exists() or path.read_text() != text:
            write_atomically(path, text)
