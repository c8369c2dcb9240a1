"""What a worker of the Ray cluster does, where it finds the workspace, or need not, and the same code."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import oltr_core
from oltr_core import digest, engine

COMPUTING = ("torch", "torchvision", "timm", "numpy", "pillow")  # packages that results depend on


class Expected(NamedTuple):
    """What a worker has to find where it is."""

    token: str  # a file of the workspace
    code: str  # digest of the code and of the versions below it
    isolated: bool = False  # whether it may do without that file


def unit(function: list[Any], of: Any, expected: Expected) -> Any:
    """What a worker calls. Raises ValueError where it cannot do what the others do."""
    _refuse(expected)
    if Path(expected.token).exists():
        return _opened(function[0])(of)
    with engine.isolation():
        return _opened(function[0])(of)


def take_part(where: str, own: int, number: int, expected: Expected, call: Callable[..., Any], args: tuple) -> None:
    """What each process of a training calls."""
    _refuse(expected)
    call(where, own, number, *args)


@lru_cache(maxsize=1)
def _opened(reference: Any) -> Callable[[Any], Any]:
    import ray

    return ray.get(reference)


def _refuse(expected: Expected) -> None:
    if problem := _unfit(expected):
        raise ValueError(f"the Ray worker on {socket.gethostname()} {problem}")


@lru_cache(maxsize=4)
def _unfit(expected: Expected) -> str:
    if not expected.isolated and not Path(expected.token).exists():
        folder = Path(expected.token).parents[2]
        return f"does not see the workspace {folder}: give every node this folder, on storage that all share"
    if expected.code != code():
        return f"has other code of oltr, or other versions of {', '.join(COMPUTING)}: install the same on every node"
    return ""


@cache
def code() -> str:
    """Digest of the code of `oltr_core` and of the versions of COMPUTING, as they are here."""
    package = Path(oltr_core.__file__).parent
    files = [[p.relative_to(package).as_posix(), digest.of_file(p)] for p in sorted(package.rglob("*.py"))]
    return digest.of_value([files, [version(name) for name in COMPUTING]])
