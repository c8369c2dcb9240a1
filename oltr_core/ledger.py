"""The ledger: append-only history, one JSON line per event, each line carrying the digest of the one before.

It is the evidence; MLflow shows a copy of it. Appending takes a file lock and is durable before it returns; an
event that the ledger already holds (same event, generation and digest) is not written twice; a torn last line,
left by a crash in mid-write, is set aside and reported. No line follows the last one and holds its digest, so the
head, a file beside the ledger, does. Workspaces of version 0.1 have none before `oltr upgrade` or their next event.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from oltr_core import digest
from oltr_core.files import write_atomically
from oltr_core.layout import GENESIS, IMPORTED, Batch, in_order

EVENTS = (
    "ingested",  # a raw batch came in: `digest` is that of its card; details: `batch`, the digest of its `truth`
    "imported_model",  # a model from elsewhere is the champion; `digest` is its folder's
    "opened",  # a generation has a number and a parent
    "sealed",  # its folder is final; `digest` is the folder's
    "promoted",  # it became the champion
    "refused",  # the gate kept the champion; `reasons`
    "rolled_back",  # the champion moved back to `generation`
    "exported",  # its batch went to the annotator
    "imported",  # annotations of its batch came back; `digest` is that of the file
    # the class register: `digest` is that of the file with the operations; details: `reason`, `by`, `classes`
    *(f"class_{change}" for change in ("added", "renamed", "merged", "split", "retired", "restored", "described")),
    "corrected",  # the label of an image; `digest` is that of the file; details: `image`, `label`, `reason`, `by`
    #: images are being removed; `objects` are DVC's that hold them, `blobs` git's, `generations` the digests to come
    "forgetting",
    "forgotten",  # that is over
)
_WITH_HEAD = ("ingested", "imported_model", "forgetting")  # version 0.1, which kept no head, writes none of these
_RESTORE = "restore the file from version control or a backup"
_ORIGIN = "0" * 64  # what the first line carries as the digest of the line before


@dataclass(frozen=True)
class Event:
    """One line of the ledger."""

    event: str
    generation: str
    digest: str  # of what the event is about; with event and generation it is the event's identity
    at: str  # ISO 8601, given by the caller: this package reads no clock
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.event in EVENTS, self.event

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.event, self.generation, self.digest)


def read(path: Path) -> list[Event]:
    """Every event, oldest first. Raises ValueError with the line where the chain does not hold."""
    head = _head(path)  # before the lines: a writer at work may add to them meanwhile
    events, previous, lines = [], _ORIGIN, _whole_lines(path)
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            claimed = entry.pop("previous")
            event = Event(**entry)
        except (ValueError, TypeError, KeyError, AssertionError):
            raise ValueError(f"{path}:{number}: this line is not a ledger event; {_RESTORE}") from None
        if claimed != previous:
            raise ValueError(
                f"{path}:{number}: the line before was changed after it was written (expected digest "
                f"{claimed[:12]}, found {previous[:12]}); {_RESTORE}"
            )
        previous = digest.of_bytes(line)
        events.append(event)
        if head and number == head["lines"] and previous != head["last"]:
            raise ValueError(
                f"{path}:{number}: this line was changed after it was written ({head_of(path).name} expects digest "
                f"{head['last'][:12]}, found {previous[:12]}); {_RESTORE}"
            )
    if head and len(lines) < head["lines"]:  # more is what a kill between line and head, or `git pull`, leaves
        raise ValueError(
            f"{path}: lines were cut off its end ({head_of(path).name} expects {head['lines']}, found {len(lines)}); "
            f"{_RESTORE}"
        )
    # a kill before the head of the first such event leaves it last; a writer at work may have made the head since
    if head is None and any(e.event in _WITH_HEAD for e in events[:-1]) and not head_of(path).exists():
        raise ValueError(
            f"{head_of(path)}: this file is missing, and without it nobody knows whether lines were cut off the end "
            f"of {path.name}; {_RESTORE}"
        )
    return events


def head_of(path: Path) -> Path:
    """The file beside the ledger that holds the number of its lines and the digest of the last."""
    return path.with_suffix(".head")


def lock_of(path: Path) -> Path:
    """The file beside the ledger that is held while a line is written."""
    return path.with_suffix(".lock")


def torn_lines_of(path: Path) -> list[Path]:
    """Files beside the ledger with lines that a crash tore."""
    return sorted(path.parent.glob(_torn(path, "*").name))


def _torn(path: Path, named: str) -> Path:
    return path.with_name(f"{path.stem}.torn-{named}")


def _head(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(head_of(path).read_text())
        return {"lines": int(found["lines"]), "last": str(found["last"])}
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError):
        raise ValueError(
            f"{head_of(path)}: expected the number of lines of {path.name} and the digest of the last, found "
            f"something else; {_RESTORE}"
        ) from None


def append(path: Path, event: Event) -> bool:
    """Write `event` durably; False if the ledger already holds it, in which case nothing is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock_of(path)):
        known = read(path)  # first: a line that is whole by the head is not set aside as torn
        _set_torn_line_aside(path)
        if any(event.key == old.key for old in known):
            return False
        lines = _whole_lines(path)
        entry = {**event.__dict__, "previous": digest.of_bytes(lines[-1]) if lines else _ORIGIN}
        line = json.dumps(entry, sort_keys=True).encode()
        with path.open("ab") as file:
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        _write_head(path, len(lines) + 1, line)
    return True


def write_head(path: Path) -> None:
    """Say that the ledger ends with its last line as it is now. The caller has read it, or written its lines."""
    lines = _whole_lines(path)
    _write_head(path, len(lines), lines[-1])


def _write_head(path: Path, lines: int, last: bytes) -> None:
    head = {"lines": lines, "last": digest.of_bytes(last)}
    write_atomically(head_of(path), json.dumps(head) + "\n")


def _whole_lines(path: Path) -> list[bytes]:
    # the last piece is empty, or torn: a line counts from its newline on
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


def _set_torn_line_aside(path: Path) -> None:
    data = path.read_bytes() if path.exists() else b""
    whole, newline, torn = data.rpartition(b"\n")
    if torn:
        aside = _torn(path, digest.of_bytes(torn)[:12])
        aside.write_bytes(torn)
        with path.open("r+b") as file:
            file.truncate(len(whole + newline))
            os.fsync(file.fileno())
        warnings.warn(f"{path}: the last line was torn by a crash; it was moved to {aside.name}", stacklevel=3)


# --- what the events add up to ---------------------------------------------------------------------------


@dataclass
class State:
    """The state of the workspace by its history."""

    champion: str = GENESIS
    opened: list[str] = field(default_factory=list)
    sealed: dict[str, str] = field(default_factory=dict)  # generation, or imported model -> digest of its folder
    verdicts: dict[str, str] = field(default_factory=dict)  # generation -> promoted | refused
    parents: dict[str, str] = field(default_factory=dict)
    exported: set[str] = field(default_factory=set)
    imported: set[str] = field(default_factory=set)  # generations whose batch has answers
    forgotten: set[str] = field(default_factory=set)  # ids of images that were removed on request
    forgetting: dict[str, Any] = field(default_factory=dict)  # details of a removal that is not over; {}: none

    @property
    def unfinished(self) -> str | None:
        """The generation that was opened and has no verdict yet; at most one."""
        return next((name for name in reversed(self.opened) if name not in self.verdicts), None)

    @property
    def generations(self) -> list[str]:
        """The sealed generations, oldest first."""
        return [name for name in self.opened if name in self.sealed]

    @property
    def next_number(self) -> int:
        """Numbers are never reused."""
        return max((int(name) for name in self.opened), default=-1) + 1


def state_of(path: Path) -> State:
    """The state that the history in `path` leaves. Raises ValueError as `read` does."""
    return replay(read(path))


def replay(events: list[Event]) -> State:
    """Fold the history into the state it leaves."""
    state = State()
    for e in events:
        match e.event:
            case "opened":
                state.opened.append(e.generation)
                state.parents[e.generation] = e.details["parent"]
            case "sealed" | "imported_model":
                state.sealed[e.generation] = e.digest
                if e.event == "imported_model":
                    state.champion = e.generation
            case "promoted" | "rolled_back":
                state.champion = e.generation
                if e.generation != IMPORTED:  # which is no generation
                    state.verdicts.setdefault(e.generation, "promoted")
            case "refused":
                state.verdicts[e.generation] = "refused"
            case "exported":
                state.exported.add(e.generation)
            case "imported":
                state.imported.add(e.generation)
            case "forgetting":
                state.forgetting = e.details
                state.forgotten |= set(e.details["images"])
            case "forgotten":  # pictures were taken out of these generations: their digests from now on
                state.forgetting = {}
                state.sealed |= e.details["generations"]
                state.forgotten |= set(e.details["images"])
    return state


def by_arrival(path: Path, batches: Iterable[Batch]) -> list[Batch]:
    """Raw batches in the order in which they came in, by the history in `path`.

    Those that it does not name are last, by their names: it has all older ones before it takes a batch in.
    """
    came = [e.details["batch"] for e in read(path) if e.event == "ingested"]
    place = {name: number for number, name in enumerate(dict.fromkeys(came))}
    return sorted(in_order(batches), key=lambda batch: place.get(batch.name, len(place)))


def metrics_at_seal(details: Mapping[str, Any], file: Path) -> dict[str, float]:
    """The metrics in the details of a `sealed` event; those of metrics.json, `file`, where version 0.1 wrote none."""
    if "metrics" in details:
        return dict(details["metrics"])
    return json.loads(file.read_text()) if file.exists() else {}


def pointers(events: list[Event]) -> dict[str, dict[str, Any]]:
    """Path in the workspace -> what DVC's pointer to it said when it came in, as far as the history has it."""
    found: dict[str, dict[str, Any]] = {}
    for e in events:
        found |= e.details.get("dvc", {})
        if e.event == "forgotten":  # these generations have other pointers since
            found = {path: p for path, p in found.items() if path.split("/")[-1] not in e.details["generations"]}
    return found


def verify_sealed(path: Path, folder: Path, of: Callable[[Path], str] = digest.of_file) -> None:
    """Raise ValueError unless the sealed `folder` is, to the byte, what the ledger says was sealed.

    `of` is the digest of a file.
    """
    state = state_of(path)
    expected = state.sealed.get(folder.name)
    if expected is None:
        if folder.name == GENESIS:
            return
        raise ValueError(f"{folder}: the ledger knows no sealed generation of this name (see `oltr generations`)")
    if not folder.is_dir():
        raise ValueError(f"{folder}: this sealed generation is not here; `dvc pull` restores it")
    found = digest.of_folder(folder, of=of)
    if found not in (expected, state.forgetting.get("generations", {}).get(folder.name)):
        raise ValueError(
            f"{folder}: a file in this sealed generation was changed (expected digest {expected[:12]}, found "
            f"{found[:12]}); {restoring(folder, pointers(read(path)))}"
        )


def verify_names(path: Path, generations: Path) -> None:
    """Raise ValueError for a folder in `generations` with a number that this history never gave.

    git ignores the folders, so they stay when an older commit is checked out, and that number is given again.
    """
    opened = state_of(path).opened
    folders = [p.name for p in sorted(generations.glob("[0-9]*")) if p.is_dir() and p.name.isdecimal()]
    if unknown := [name for name in folders if name not in opened]:
        raise ValueError(
            f"{generations}: expected generations that the ledger names, found {', '.join(unknown)}, of another "
            "history (git leaves these folders when it checks out another ledger); move them out of the workspace"
        )


def restoring(tracked: Path, known: Collection[str]) -> str:
    """How to restore what DVC keeps of `tracked`; `known`: the paths whose pointers the ledger holds."""
    file = f"{tracked.name}.dvc"
    how = f"`dvc checkout --force {file}` in {tracked.parent} restores it"
    if any(f"/{tracked.as_posix()}".endswith(f"/{path}") for path in known):
        return how
    return f"{how}, after `git checkout {file}` if git shows that {file} changed too"
