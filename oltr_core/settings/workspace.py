"""The workspace as a whole."""

from __future__ import annotations

from oltr_core.spec import Spec


class Workspace(Spec):
    name: str = "digits"
