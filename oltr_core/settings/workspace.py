"""The workspace as a whole."""

from __future__ import annotations

from oltr_core.spec import Spec


class Workspace(Spec):
    """What this workspace is called."""

    name: str = "digits"
