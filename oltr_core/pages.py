"""Pages that are whole in one file: their templates, and what such a page may run."""

from __future__ import annotations

import hashlib
from base64 import b64encode

import jinja2


def templates(package: str) -> jinja2.Environment:
    """The folder `templates` of a package; text in them is escaped."""
    loader = jinja2.PackageLoader(package, "templates")
    return jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)


def source(environment: jinja2.Environment, file: str) -> str:
    """A file beside the templates, as it is."""
    assert environment.loader is not None
    return environment.loader.get_source(environment, file)[0]


def hashed(text: str) -> str:
    """What a Content-Security-Policy calls this script or style."""
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
