"""The batch as Label Studio has it: labelling configuration and tasks out, annotations back; without the server.

A task is known by the image's id and the batch in its data, never by its place or number. Out of an annotation come
the verdict, and the class or the new name that goes with it; what a person left in a field that the verdict hides
does not count. Skipped: unsure. Drafts, which nobody has submitted, are no answers. Where annotations of a task are
marked as ground truth, which is Label Studio's word for the right answer, the others of that task are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from xml.etree import ElementTree

from oltr_core.curation import text_values
from oltr_core.schema import VERDICTS
from tasks.annotator import returned

_WORDS = {
    "label": "a known class: choose it below",
    "new_class": "a class not listed: type its name below",
    "discard": "a bad image, to be left out",
    "unsure": "cannot tell",
}


def configuration(classes: Iterable[str]) -> str:
    """The labelling configuration: a verdict, then a known class or the name of a new one."""
    view = ElementTree.Element("View")

    def add(tag: str, into: ElementTree.Element = view, **attributes: str) -> ElementTree.Element:
        return ElementTree.SubElement(into, tag, attributes)

    def only_with(verdict: str) -> ElementTree.Element:
        return add("View", visibleWhen="choice-selected", whenTagName="verdict", whenChoiceValue=verdict)

    add("Header", value="$about", size="5")
    verdicts = add("Choices", name="verdict", toName="image", choice="single", required="true", showInline="true")
    for verdict in VERDICTS:
        add("Choice", verdicts, value=verdict, hint=_WORDS[verdict])
    known = add("Choices", only_with("label"), name="class", toName="image", choice="single", layout="select")
    for name in sorted(set(classes)):
        add("Choice", known, value=name)
    add("TextArea", only_with("new_class"), name="new_name", toName="image", maxSubmissions="1")
    add("Image", name="image", value="$image", zoom="true")  # last: what there is to answer is seen without scrolling
    return ElementTree.tostring(view, encoding="unicode")


def task(row: Mapping[str, Any], name: str, image: str, probability: float | None) -> dict[str, Any]:
    """The task of one selected image of the batch `name`: `image` is its address, or a data URI.

    `probability`: that of the suggested class, where the model said one.
    """
    why = {key: row[key] for key in ("rank", "suggested", "reason", "share", "cluster")}
    parts = [f"suggested: {row['suggested']}", row["reason"], row["share"]]
    parts += [] if row["cluster"] is None else [f"cluster {row['cluster']}"]
    about = " · ".join(filter(None, parts))
    suggestion: dict[str, Any] = {
        "model_version": f"oltr {name}",
        "result": [_choice("verdict", "label"), _choice("class", row["suggested"])],
    }
    suggestion |= {} if probability is None else {"score": probability}
    data = {"image": image, "image_id": row["image_id"], "batch": name, "about": about, **why}
    return {"data": data, "predictions": [suggestion]}


def key(task: Mapping[str, Any]) -> tuple[Any, Any]:
    """Which image of which batch a task of the server asks about; of a task that is not ours, nothing."""
    data = task.get("data") or {}
    return data.get("batch"), data.get("image_id")


def answers(
    tasks: Iterable[Mapping[str, Any]],
    name: str,
    people: Mapping[Any, str],
    names: Mapping[str, str],
    source: str = "Label Studio",
) -> Iterator[dict[str, Any]]:
    """The answers to the batch `name` among the server's tasks, as every annotator gives them.

    `people` has the name of each user by their number, `names` what may be written for a class (`batch.names_meant`).
    One that is the ground truth is `settled`: no other is waited for. One whose verdict names no known class carries
    a `problem`. Task and annotation are under `where`.
    """
    find = text_values.class_finder(names)
    for one in tasks:
        if key(one)[0] != name:
            continue
        submitted = one.get("annotations") or []
        right = [a for a in submitted if a.get("ground_truth") and not a.get("was_cancelled")]
        for annotation in right or submitted:
            said = _said(annotation.get("result") or [])
            verdict = said.get("verdict") or ("new_class" if said.get("new_name") else "label")
            if annotation.get("was_cancelled"):
                verdict = "unsure"
            label = said.get({"label": "class", "new_class": "new_name"}.get(verdict, ""), "")
            by = annotation.get("completed_by")
            address = by.get("email") if isinstance(by, Mapping) else None
            by = by.get("id") if isinstance(by, Mapping) else by
            more = {
                "annotator": people.get(by) or address or f"user {by}",  # one who was deleted since
                "answered_at": annotation.get("updated_at") or annotation.get("created_at"),
                "seconds": annotation.get("lead_time"),
                "where": f"{source}: task {one['id']}, annotation {annotation['id']}",
            }
            settled = {"settled": True} if right else {}
            yield returned.answer(name, names, find, str(key(one)[1]), verdict, label, **more, **settled)


def _choice(field: str, value: str) -> dict[str, Any]:
    return {"from_name": field, "to_name": "image", "type": "choices", "value": {"choices": [value]}}


def _said(result: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Field -> what was chosen or typed in it."""
    found: dict[str, str] = {}
    for part in result:
        value = part.get("value") or {}
        if words := value.get("choices") or value.get("text"):
            found[part.get("from_name", "")] = str(words if isinstance(words, str) else words[-1]).strip()
    return found
