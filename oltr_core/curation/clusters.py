"""One answer for many images: a cluster of a batch is named at once, and its exceptions one by one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from oltr_core.curation import text_values

_NAME = re.compile(r"cluster-(\d+)")


def name_of(cluster: int) -> str:
    """What stands in the column image_id of an answer to all images of a cluster."""
    return f"cluster-{cluster}"


def expand(answers: Iterable[Mapping[str, Any]], clusters: Mapping[str, int | None]) -> list[Mapping[str, Any]]:
    """The answers image by image: one to `cluster-N` becomes one to each image of cluster N.

    `clusters` has the images of the batch, in its order. Images that the same annotator answers by themselves are
    exceptions, wherever in the list they stand. The person's time is divided among the images that the answer names.
    An answer to a cluster that there is not, or to which its annotator gives another too, gets a `problem`; so does
    one of a file with a line that cannot be read, which may be an exception.
    """
    answers = list(answers)
    by_hand = {(a.get("image_id"), a.get("annotator")) for a in answers}
    members: dict[int, list[str]] = {}
    for image_id, cluster in clusters.items():
        if cluster is not None:
            members.setdefault(cluster, []).append(image_id)
    named = [_NAME.fullmatch(str(a.get("image_id") or "")) if "problem" not in a else None for a in answers]
    said: dict[tuple[int, Any], dict[Any, Any]] = {}  # cluster and annotator -> answer -> where it is given first
    for answer, name in zip(answers, named, strict=True):
        if name:
            of = said.setdefault((int(name[1]), answer.get("annotator")), {})
            of.setdefault((answer.get("verdict"), answer.get("label")), answer.get("where"))
    wrong = [a for a in answers if "problem" in a and a.get("image_id") not in clusters]
    torn = {_file(a) for a in wrong if not _NAME.fullmatch(str(a.get("image_id")))}
    found: list[Mapping[str, Any]] = []
    done = set()
    for answer, name in zip(answers, named, strict=True):
        if not name:
            found.append(answer)
            continue
        cluster, by = int(name[1]), answer.get("annotator")
        others = [str(where) for where in said[cluster, by].values() if where != answer.get("where")]
        if cluster not in members:
            there = ", ".join(map(name_of, sorted(members))) or "no clusters"
            found.append({**answer, "problem": f"image_id: there is no {name[0]} in this batch (there are: {there})"})
        elif len(said[cluster, by]) > 1:
            found.append(
                {**answer, "problem": f"{by} answers {name[0]} twice ({', '.join(others)} too); keep one row"}
            )
        elif _file(answer) in torn:
            why = "a line of this file cannot be read and may be an exception to this answer"
            found.append({**answer, "problem": f"{name[0]}: {why}; correct that line first"})
        elif (cluster, by) not in done:
            done.add((cluster, by))
            mine = [i for i in members[cluster] if (i, by) not in by_hand]
            each = {"seconds": _divided(answer.get("seconds"), len(mine))}
            found += [{**answer, **each, "image_id": image_id} for image_id in mine]
    return found


def _file(answer: Mapping[str, Any]) -> str:
    """The file of an answer, of which `where` also has the line."""
    return re.sub(r":\d+$", "", str(answer.get("where")))


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
        whole = text_values.seconds(seconds)
        return seconds if whole is None else whole / max(1, among)
    except ValueError:
        return seconds
