"""A team that annotates in Label Studio: tasks with suggestions out, annotations back, over its REST interface.

A workspace has one project. A batch that was sent is not sent again: what is missing of it is added, and addresses of
pictures that end before long are renewed (`studio_pictures`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any

from oltr_core.layout import Layout
from oltr_core.settings.annotator import LabelStudioAnnotator
from oltr_core.settings.masking import masked
from oltr_core.settings.whole import load_settings
from tasks.annotator import Objects, batch, returned, studio_pictures, studio_tasks
from tasks.annotator.studio_server import Server

AT_ONCE = 100  # tasks of one request


def publish(layout: Layout, settings: LabelStudioAnnotator, name: str, objects: Objects) -> str:
    """Write the batch into data/exports and make its tasks on the server; its digest."""
    found = batch.export(layout, name)
    server = Server(settings.url)
    classes = set(batch.class_names(layout, name).values())
    project = _project(server, _title(layout, settings), classes, settings.answers_per_image)
    there = {studio_tasks.key(task): task for task in _tasks(server, project["id"], "task_only")}
    ends = partial(studio_pictures.ends_soon, settings, objects)
    sent = [(there.get((name, row["image_id"])), row) for row in batch.selected(layout, name)]
    rows = [row for task, row in sent if task is None or ends(task["data"]["image"])]
    tasks, likely = [], batch.probabilities(layout, name)
    for row, image in studio_pictures.images(layout, settings, name, rows, server, project["id"], objects):
        if task := there.get((name, row["image_id"])):
            server.ask("PATCH", f"api/tasks/{task['id']}/", {"data": task["data"] | {"image": image}})
        else:
            tasks.append(studio_tasks.task(row, name, image, likely.get(row["image_id"])))
    for begin in range(0, len(tasks), AT_ONCE):
        server.ask("POST", f"api/projects/{project['id']}/import", tasks[begin : begin + AT_ONCE])
    return found


def collect(layout: Layout, settings: LabelStudioAnnotator, name: str, at: str) -> list[Mapping[str, Any]]:
    """A row for each annotation that was submitted; people are called by their e-mail addresses."""
    server = Server(settings.url)
    project = _found(server, _title(layout, settings))
    if project is None:
        return []
    people = {user["id"]: user.get("email") or user.get("username") for user in server.ask("GET", "api/users/")}
    tasks, names = _tasks(server, project["id"], "all"), batch.names_meant(layout, name)
    return returned.by_image(layout, name, studio_tasks.answers(tasks, name, people, names), names)


def instructions(layout: Layout, settings: LabelStudioAnnotator, name: str) -> str:
    """Where the tasks are."""
    project = _title(layout, settings)
    return (
        f"answer batch {name} in the project {project!r} of Label Studio at {masked(settings.url)},\n"
        "then `oltr loop --more 1`"
    )


def audit(layout: Layout, settings: LabelStudioAnnotator, name: str) -> None:
    """Nothing: nobody knows the truth of these images."""


def forget(layout: Layout, settings: LabelStudioAnnotator, image_ids: Collection[str], objects: Objects) -> int:
    """Delete the tasks of these images, with their pictures and annotations; how many there were."""
    studio_pictures.remove(settings, set(image_ids), objects)
    server, gone = Server(settings.url), set(image_ids)
    project = _found(server, _title(layout, settings))
    tasks = list(_tasks(server, project["id"], "task_only")) if project else []
    mine = [task["id"] for task in tasks if studio_tasks.key(task)[1] in gone]
    for number in mine:
        server.ask("DELETE", f"api/tasks/{number}/")
    return len(mine)


def _title(layout: Layout, settings: LabelStudioAnnotator) -> str:
    return settings.project or f"oltr {load_settings(layout).workspace.name}"


def _found(server: Server, title: str) -> dict[str, Any] | None:
    """The oldest project of that title."""
    there = [p for p in server.pages("api/projects/", "results", title=title) if p["title"] == title]
    return min(there, key=lambda project: project["id"]) if there else None


def _project(server: Server, title: str, classes: set[str], people: int = 1) -> dict[str, Any]:
    """The project with these classes, made where there is none; annotations keep classes that are gone.

    A task is done when so many `people` have answered it.
    """
    wanted = {"label_config": studio_tasks.configuration(classes), "maximum_annotations": people}
    project = _found(server, title)
    if project is None:
        return server.ask("POST", "api/projects/", {"title": title, **wanted})
    if other := {key: value for key, value in wanted.items() if project.get(key) != value}:
        server.ask("PATCH", f"api/projects/{project['id']}/", other)
    return project


def _tasks(server: Server, project: int, fields: str) -> Iterator[dict[str, Any]]:
    return server.pages("api/tasks/", "tasks", project=project, fields=fields)
