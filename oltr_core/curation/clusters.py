"""One answer for many images: a cluster of a batch is named at once, and its exceptions one by one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

_NAME = re.compile(r"cluster-(\d+)")


def name_of(cluster: int) -> str:
    """What stands in the column image_id of an answer to all images of a cluster."""
    return f"cluster-{cluster}"


def expand(answers: Iterable[Mapping[str, Any]], clusters: Mapping[str, int | None]) -> list[Mapping[str, Any]]:
    """The answers image by image: one to `cluster-N` becomes one to each image of cluster N.

    `clusters` has the images of the batch, in its order. Images that the same annotator answers by themselves are
    exceptions, wherever in the list they stand. The person's time is divided among the images that the answer names.
    An answer to a cluster that there is not, or that its annotator has answered before, gets a `problem`.
    """
    answers = list(answers)
    by_hand = {(a.get("image_id"), a.get("annotator")) for a in answers}
    members: dict[int, list[str]] = {}
    for image_id, cluster in clusters.items():
        if cluster is not None:
            members.setdefault(cluster, []).append(image_id)
    found: list[Mapping[str, Any]] = []
    seen: dict[tuple[int, Any], Any] = {}
    for answer in answers:
        named = _NAME.fullmatch(str(answer.get("image_id") or ""))
        if not named or "problem" in answer:
            found.append(answer)
            continue
        cluster, by = int(named[1]), answer.get("annotator")
        if cluster not in members:
            there = ", ".join(map(name_of, sorted(members))) or "no clusters"
            found.append({**answer, "problem": f"there is no {named[0]} in this batch (there are: {there})"})
        elif (cluster, by) in seen:
            before = seen[cluster, by]
            found.append({**answer, "problem": f"{by} answers {named[0]} twice ({before} too); keep one row"})
        else:
            seen[cluster, by] = answer.get("where")
            mine = [i for i in members[cluster] if (i, by) not in by_hand]
            each = {"seconds": _divided(answer.get("seconds"), len(mine))}
            found += [{**answer, **each, "image_id": image_id} for image_id in mine]
    return found


def group(answers: Iterable[Mapping[str, Any]], clusters: Mapping[str, int | None]) -> list[Mapping[str, Any]]:
    """The fewest answers that `expand` makes these of: the commonest answer names its cluster, others stand alone.

    All answers are one annotator's, and none has a duration. Of two equally common ones the first is taken.
    """
    answers = list(answers)
    said: dict[int, Counter[tuple[Any, Any]]] = {}
    for answer in answers:
        if (cluster := clusters.get(answer["image_id"])) is not None:
            said.setdefault(cluster, Counter())[answer["verdict"], answer["label"]] += 1
    common = {cluster: counts.most_common(1)[0][0] for cluster, counts in said.items()}
    found: list[Mapping[str, Any]] = []
    begun = set()
    for answer in answers:
        cluster = clusters.get(answer["image_id"])
        if cluster is None or common[cluster] != (answer["verdict"], answer["label"]):
            found.append(answer)
        elif cluster not in begun:
            begun.add(cluster)
            found.append({**answer, "image_id": name_of(cluster)})
    return found


def typed(labels: Iterable[Any], clusters: Iterable[int | None]) -> int:
    """How many answers name these images, where a cluster is answered at once and its exceptions one by one."""
    alone, of_cluster = 0, dict[int, Counter[Any]]()
    for label, cluster in zip(labels, clusters, strict=True):
        if cluster is None:
            alone += 1
        else:
            of_cluster.setdefault(cluster, Counter())[label] += 1
    return alone + sum(1 + counts.total() - max(counts.values()) for counts in of_cluster.values())


def _divided(seconds: Any, among: int) -> Any:
    """A share of a duration; what is no number is left for the check to name."""
    try:
        return float(seconds) / max(1, among) if seconds not in (None, "") else seconds
    except (TypeError, ValueError):
        return seconds
