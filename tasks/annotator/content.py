"""What the annotation page shows: the batch in groups and pages, the known classes with examples, and their keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from oltr_core import digest, schema
from oltr_core.layout import Layout
from oltr_core.settings.whole import load_settings
from tasks.annotator import batch, pictures

COLUMNS = (*batch.COLUMNS, "answered_at")  # of the table that the page saves
PER_PAGE = 1000  # images; a larger batch becomes several pages
PAGE_BYTES = 24 * 2**20  # of the pictures of a page, before base64: what they share, the more the smaller
LARGEST = 120_000  # bytes of one picture
EXAMPLES, EXAMPLES_IN_ALL = 3, 1200  # training images shown per class, and of all classes together
KEYS = "1234567890"
#: share of a composed batch -> what its images have in common
SHARES = {
    "discover": "Unlike the known classes",
    "refine": "Between known classes",
    "tail": "Perhaps of a rare class",
    "suspect": "Labels that may be wrong",
    "audit": "Drawn at random",
    schema.SPLIT: "Of a class that was split",
    schema.ADJUDICATE: "People disagree",
}


# --- what is asked --------------------------------------------------------------------------------------------
def groups(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a selection as groups, in the order of their best row: {title, together, images}.

    Images of a cluster are answered together where the model suggests one class for half of them or more; of a
    cluster of many suggestions each is looked at. Images of no cluster, or alone in theirs, are grouped by their
    share; without such columns in the selection all are one group.
    """
    members: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        members.setdefault(row.get("cluster"), []).append(row)
    found: dict[tuple[str, Any], dict[str, Any]] = {}
    for row in rows:
        cluster, share = row.get("cluster"), row.get("share")
        if cluster is not None and len(members[cluster]) > 1:
            key, (title, together) = ("cluster", cluster), _cluster(cluster, members[cluster])
        else:
            key, together = ("share", share), False
            title = SHARES.get(share, share) if share else "Images to name"
        found.setdefault(key, {"title": title, "together": together, "images": []})["images"].append(row)
    return list(found.values())


def _cluster(number: int, rows: list[dict[str, Any]]) -> tuple[str, bool]:
    """The title of a cluster, and whether its images are answered together."""
    ((name, most),) = Counter(row["suggested"] for row in rows).most_common(1)
    if 2 * most < len(rows):
        return f"Cluster {number}: many suggestions", False
    if {row["share"] for row in rows} <= {"refine", "tail"}:  # clusters of one suggestion
        return f"Cluster {number}: perhaps {name}", True
    return f"Cluster {number}: images that look alike", True


def pages_of(layout: Layout, name: str) -> list[list[dict[str, Any]]]:
    """The groups of each page of the batch of generation `name`."""
    return paged(groups(batch.selected(layout, name)), PER_PAGE)


def paged(parts: list[dict[str, Any]], most: int) -> list[list[dict[str, Any]]]:
    """The groups of each page, of at most `most` images; a group that does not fit goes on on the next page."""
    pages: list[list[dict[str, Any]]] = [[]]
    left = most
    for part in parts:
        images = part["images"]
        while images:
            if not left:
                pages.append([])
                left = most
            pages[-1].append({**part, "images": images[:left]})
            images, left = images[left:], left - len(images[:left])
    return pages


def facts(layout: Layout, name: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    """All that the page of the groups `parts` knows, as JSON has it."""
    from oltr_core.curation.annotations import RESERVED  # brings polars

    rows = [row for part in parts for row in part["images"]]
    most = bytes_of_each(len(rows))
    images = batch.pixels(layout, name, [row["image_id"] for row in rows])
    shown = iter([_shown(row, pixels, most) for row, pixels in zip(rows, images, strict=True)])
    classes = list(known_classes(layout, name))
    return {
        "workspace": load_settings(layout).workspace.name,
        "batch": name,
        "digest": digest.of_value([row["image_id"] for row in rows])[:12],
        "columns": COLUMNS,
        "reserved": RESERVED,
        "unknown": schema.UNKNOWN,
        "longest": schema.NAME_LENGTH,
        "classes": classes,
        "keys": keys([one["name"] for one in classes], rows),
        "groups": [{**part, "images": [next(shown) for _ in part["images"]]} for part in parts],
    }


def bytes_of_each(images: int) -> int:
    """How large a picture may be at most, so that so many fit into a page."""
    return min(LARGEST, PAGE_BYTES // max(1, images))


def _shown(row: dict[str, Any], pixels: Any, most: int) -> dict[str, Any]:
    kept = {key: row.get(key) for key in ("image_id", "rank", "suggested", "reason", "share", "cluster")}
    small = pictures.is_small(pixels)
    return kept | {"file": batch.file_of(row), "src": pictures.picture(pixels, most), "small": small}


# --- the known classes ----------------------------------------------------------------------------------------
def known_classes(layout: Layout, name: str) -> Iterator[dict[str, Any]]:
    """Active classes by name: {name, aliases, images, examples}, an example being image_id and data URI.

    No example is an image of the batch: its label would be the answer to a question, or is in doubt.
    """
    import polars as pl

    active = sorted((r for r in batch.register(layout, name) if r["status"] == "active"), key=lambda r: r["name"])
    manifest = schema.read(layout.generation(name).manifest, schema.MANIFEST, ["image_id", "class_id", "split"])
    train = pl.DataFrame(manifest).filter(split="train")
    few = max(1, min(EXAMPLES, EXAMPLES_IN_ALL // max(1, len(active))))
    free = pl.col("image_id").filter(~pl.col("image_id").is_in(batch.asked(layout, name)))
    of_class = train.group_by("class_id").agg(pl.len(), free.sort().head(few))
    counts = {class_id: count for class_id, count, _ in of_class.iter_rows()}
    ids = {class_id: chosen for class_id, _, chosen in of_class.iter_rows()}
    # where all classes have more than fit, those that the model suggests most have theirs
    often = Counter(row["suggested"] for row in batch.selected(layout, name))
    order = sorted(active, key=lambda row: -often[row["name"]])
    chosen = [image_id for row in order for image_id in ids.get(row["class_id"], [])][:EXAMPLES_IN_ALL]
    small = dict(zip(chosen, map(pictures.thumbnail, batch.pixels(layout, name, chosen)), strict=True))
    for row in active:
        examples = [(image_id, small[image_id]) for image_id in ids.get(row["class_id"], []) if image_id in small]
        images = counts.get(row["class_id"], 0)
        yield {"name": row["name"], "aliases": row["aliases"], "images": images, "examples": examples}


def keys(names: list[str], rows: list[dict[str, Any]]) -> list[str | None]:
    """The class of each of the keys 1 to 9 and 0: a class called by a digit has its key, then the most suggested."""
    suggested = Counter(row["suggested"] for row in rows)
    own = {name for name in names if name in KEYS and len(name) == 1}
    others = iter(sorted((n for n in names if n not in own), key=lambda n: (-suggested[n], n)))
    return [key if key in own else next(others, None) for key in KEYS]
