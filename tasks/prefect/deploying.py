"""The deployments of prefect.yaml on a Prefect server: registered, started by events, people notified of them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from oltr_core.files import write_atomically
from oltr_core.layout import Layout
from oltr_core.settings.masking import masked
from oltr_core.settings.reading import read_yaml

POOL = "oltr"  # the pool that is made where it is missing
NAME = "{{ $OLTR_NAME }}"  # in prefect.yaml
ANNOTATIONS = "oltr.annotations"


def deploy(layout: Layout, name: str, pool: str = "") -> tuple[list[str], list[str]]:
    """Register the deployments of this workspace, called `name`; returns their names and those of their work pools.

    `pool`: one of `definitions.work_pools` of prefect.yaml, in the place of those that the deployments name. Raises
    ValueError without an address, for a pool that is missing, and where another workspace has this name, and
    ConnectionError where the server does not answer.
    """
    url = os.environ.get("PREFECT_API_URL", "")
    if not url.startswith(("http://", "https://")):
        found = f"{url!r}; write it as http://HOST:4200/api" if url else "none; set it, or run `oltr serve`"
        raise ValueError(f"PREFECT_API_URL: expected the address of a Prefect server, found {masked(found)}")
    written = variant(layout, pool)
    layout.prefect_home.mkdir(parents=True, exist_ok=True)  # before Prefect is imported, which warns without it
    names = [entry["name"].replace(NAME, name) for entry in written["deployments"]]
    pools = sorted({entry["work_pool"]["name"] for entry in written["deployments"]})
    _prepare(layout, pools, names)
    command = [sys.executable, "-P", "-m", "prefect", "--no-prompt", "deploy", "--all"]
    if pool:
        write_atomically(layout.deployed, yaml.safe_dump(written, sort_keys=False))
        command += ["--prefect-file", str(layout.deployed)]
    env = {**os.environ, "OLTR_NAME": name, "OLTR_FOLDER": str(layout.root.resolve())}
    done = subprocess.run(command, cwd=layout.root, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(
            f"{layout.prefect_yaml}: Prefect refused it: {' '.join((done.stdout + done.stderr).split())}"
        )
    return names, pools


def variant(layout: Layout, pool: str) -> dict[str, Any]:
    """prefect.yaml, every deployment in the work pool that is defined there as `pool`; "": as it is written.

    Raises ValueError naming file and key.
    """
    written = read_yaml(layout.prefect_yaml)
    entries = written.get("deployments")
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{layout.prefect_yaml}: deployments: expected a list of deployments, found {entries!r}")
    if not pool:
        _check(layout, entries)
        return written
    defined = _value(_value(written, "definitions"), "work_pools") or {}
    if pool not in defined:
        there = ", ".join(defined) or "none; a new workspace's prefect.yaml has them"
        raise ValueError(f"{layout.prefect_yaml}: expected {pool!r} in definitions.work_pools, found {there}")
    entries = [entry | {"work_pool": defined[pool]} if isinstance(entry, dict) else entry for entry in entries]
    _check(layout, entries)
    # of a deployment with an image Prefect would look for the workspace in a folder of its own
    folder = {"directory": str(layout.root.resolve())}
    pull = [{"prefect.deployments.steps.set_working_directory": folder}]
    return written | {"deployments": entries, "pull": pull}


def _check(layout: Layout, entries: list[Any]) -> None:
    """Raise ValueError for a deployment without a name or a work pool."""
    for number, entry in enumerate(entries):
        pool = _value(entry, "work_pool")
        for key, found in (("name", _value(entry, "name")), ("work_pool.name", _value(pool, "name"))):
            if not isinstance(found, str):
                at = f"deployments[{number}].{key}"
                raise ValueError(f"{layout.prefect_yaml}: {at}: expected a name, found {found!r}")


def _value(mapping: Any, key: str) -> Any:
    return mapping.get(key) if isinstance(mapping, dict) else None


@contextlib.contextmanager
def _client() -> Iterator[Any]:
    """Prefect's client. Raises ConnectionError where the server does not answer, ValueError where it refuses."""
    import httpx
    from prefect.client.orchestration import get_client

    at = masked(f"PREFECT_API_URL: the Prefect server at {os.environ.get('PREFECT_API_URL', '')}")
    try:
        with get_client(sync_client=True) as client:
            yield client
    except httpx.TransportError as error:
        raise ConnectionError(f"{at} does not answer ({error}); start it, or set another address") from error
    except httpx.HTTPStatusError as error:
        said = str(error).partition(" for url")[0]
        if error.response.status_code >= 500:
            raise ConnectionError(f"{at} failed ({said}); its log has the reason") from error
        raise ValueError(f"{at} refused the request ({said}); an address ends with /api") from error


def others(layout: Layout, names: list[str]) -> list[str]:
    """Deployments on the server that run in this workspace, besides those called `names`, as FLOW/NAME."""
    found: list[Any] = []
    with _client() as client:
        while page := client.read_deployments(offset=len(found)):
            found += page
        return [
            f"{client.read_flow(deployment.flow_id).name}/{deployment.name}"
            for deployment in found
            if _folder(deployment) == str(layout.root.resolve()) and deployment.name not in names
        ]


def _prepare(layout: Layout, pools: Iterable[str], names: list[str]) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound

    with _client() as client:
        for deployment in client.read_deployments(deployment_filter=_called(names)):
            if (place := _folder(deployment)) and place != str(layout.root.resolve()):
                raise ValueError(
                    f"the server has a deployment {deployment.name} of {place}; give one of the two workspaces "
                    "another `workspace.name` in params.yaml; where it was moved, `prefect deployment delete` the old"
                )
        for pool in pools:
            try:
                client.read_work_pool(pool)
            except ObjectNotFound:
                if pool != POOL:
                    raise ValueError(
                        f"{layout.prefect_yaml}: the server has no work pool {pool!r}; make it with `prefect "
                        f"work-pool create {pool} --type TYPE` (process, docker, kubernetes)"
                    ) from None
                client.create_work_pool(WorkPoolCreate(name=pool, type="process"))


def _called(names: list[str]) -> Any:
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName

    return DeploymentFilter(name=DeploymentFilterName(any_=names))


def _folder(deployment: Any) -> str:
    """The folder that a deployment runs in, "" where it does not say."""
    for step in deployment.pull_steps or []:
        for options in step.values():
            if isinstance(options, dict) and "directory" in options:
                return str(options["directory"])
    return ""


def tell_by(block: str, name: str, names: list[str], states: Iterable[str], of: str = "people") -> None:
    """Let the server tell people, by the notification block TYPE/NAME, of runs of `names` that come into `states`.

    `of` tells the automations of one workspace apart. Raises ValueError where there is no such block.
    """
    from prefect.events.actions import SendNotification
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.exceptions import ObjectNotFound

    kind, _, called = block.partition("/")
    automation = f"oltr {name}: tell {of}"
    with _client() as client:
        try:
            found = client.read_block_document_by_name(called, kind)
        except ObjectNotFound:
            raise ValueError(
                f"--notify {block}: expected a notification block of the server as TYPE/NAME, such as "
                "slack-webhook/team; `prefect block ls` lists them"
            ) from None
        ids = [str(deployment.id) for deployment in client.read_deployments(deployment_filter=_called(names))]
        for old in client.read_automations_by_name(automation):
            client.delete_automation(old.id)
        client.create_automation(
            AutomationCore(
                name=automation,
                trigger=EventTrigger(
                    expect={f"prefect.flow-run.{state}" for state in states},
                    match_related={
                        "prefect.resource.role": "deployment",
                        "prefect.resource.id": [f"prefect.deployment.{each}" for each in ids],
                    },  # pyright: ignore[reportArgumentType]
                    posture=Posture.Reactive,
                    threshold=1,
                ),
                actions=[
                    SendNotification(
                        block_document_id=found.id,
                        subject="{{ flow_run.name }}: {{ flow_run.state.name }}",
                        body="{{ flow_run.state.message }}",
                    )
                ],
            )
        )


@contextlib.contextmanager
def served(layout: Layout, url: str) -> Iterator[None]:
    """Other commands in this workspace find the server at `url` while it is up; "": a server of others."""
    write_atomically(layout.served, url)
    try:
        yield
    finally:
        layout.served.unlink(missing_ok=True)


def answers_are_in(name: str, at: str, layout: Layout | None = None) -> str | None:
    """Emit the event that starts `annotation`, on the server that PREFECT_API_URL names or `oltr serve` runs.

    Returns a sentence where it does not answer; None where it took the event, or where there is no server.
    """
    named = os.environ.get("PREFECT_API_URL", "").rstrip("/")
    ours = layout.served.read_text() if layout and layout.served.exists() else ""
    if not (url := named or ours):
        return None
    resource = {"prefect.resource.id": f"oltr.workspace.{name}"}
    event = {"id": str(uuid.uuid4()), "occurred": at, "event": ANNOTATIONS, "resource": resource, "payload": {}}
    request = urllib.request.Request(
        f"{url}/events", json.dumps([event]).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=5):
            return None
    except (OSError, ValueError) as error:
        if not named:  # `oltr serve` was killed
            return None
        return f"Prefect was not told that answers are in ({error}); the schedule finds them"
