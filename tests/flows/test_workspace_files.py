"""What `oltr init` writes, what the containers are built from, what a schedule runs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pathspec
import pytest
import yaml

from flows import cli
from oltr_core.layout import Layout
from oltr_core.params import Params, load_params
from oltr_core.profiles import PROFILES
from tasks import workspace
from tasks.prefect import deploying
from tasks.prefect.server import RETENTION
from tests.architecture.imports import ROOT
from tests.flows.worlds import called, environment, processor_seconds, run


def test_this_repository_is_the_workspace_that_init_writes(tmp_path):
    """`make generated` writes what differs."""
    written = workspace.create(tmp_path)
    assert {"params.yaml", "dvc.yaml", "prefect.yaml", ".dvcignore", "data/.gitignore", "data/run.yaml"} < set(
        written
    )
    for name in set(written) - {".git", *workspace.REPOSITORY_OWN}:
        assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes(), name
    assert (ROOT / ".dvc" / "config").read_text().startswith(workspace.CONFIG.rstrip())
    assert workspace.create(tmp_path) == [], "what is there stays"


def test_genesis_is_copied_whole(tmp_path):
    workspace.create(tmp_path)
    names = {p.name for p in (ROOT / "data" / "generations" / "genesis").iterdir()}
    assert {p.name for p in (tmp_path / "data" / "generations" / "genesis").iterdir()} == names


def test_the_parameters_that_are_written_are_the_defaults_with_their_comments():
    params = load_params(Layout(ROOT))
    assert params == PROFILES["digits"]()
    text = (ROOT / "params.yaml").read_text()
    assert "  save_every: 1             # epochs between states that a killed training continues from" in text
    assert "  centroid_rate" in text
    assert all(f"\n{section}:" in text for section in Params.model_fields)


def test_analytics_are_off_wherever_the_packages_look():
    make, docker = (ROOT / "Makefile").read_text(), (ROOT / "docker" / "Dockerfile").read_text()
    for name in environment():
        if name in ("DO_NOT_TRACK", "DVC_NO_ANALYTICS", "GX_ANALYTICS_ENABLED", "MLFLOW_DISABLE_TELEMETRY",
                    "PREFECT_SERVER_ANALYTICS_ENABLED"):  # fmt: skip
            assert f"export {name} = " in make
            assert f"{name}=" in docker


def test_the_lock_names_exact_versions_with_their_digests_and_no_index():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    for line in lines:
        if line and not line.startswith((" ", "#")):
            assert re.match(r"^[a-z0-9][a-z0-9._-]*(\[[a-z0-9,-]+\])?==[^ ]+( ;.*)? \\$", line), line
    packages = re.findall(r"^[a-z0-9].+?(?=^[a-z0-9]|\Z)", "\n".join(lines), re.MULTILINE | re.DOTALL)
    assert not [package for package in packages if "--hash=sha256:" not in package]
    assert not [line for line in lines if "index-url" in line or "://" in line]


def test_every_stage_of_the_dockerfile_exists_and_copies_what_is_there():
    stages, images = [], {"python"}
    for line in (ROOT / "docker" / "Dockerfile").read_text().splitlines():
        if found := re.match(r"FROM (\S+) AS (\S+)", line):
            source = found[1].replace("${FLAVOUR}", "cpu")
            assert source in stages or source.split(":")[0] in images, line
            stages.append(found[2])
        if found := re.match(r"COPY (\S+) \S+$", line):
            assert (ROOT / found[1]).exists(), line
    assert {"cpu", "gpu", "worker"} <= set(stages)


def test_the_compose_file_holds_together_and_holds_no_secret():
    text = (ROOT / "docker" / "compose.yaml").read_text()
    compose = yaml.safe_load(text)
    services = compose["services"]
    assert {"prefect", "mlflow", "postgres", "s3", "worker"} <= set(services)
    targets = set(re.findall(r"AS (\S+)", (ROOT / "docker" / "Dockerfile").read_text()))
    conditions = {"service_healthy", "service_started", "service_completed_successfully"}
    for name, service in services.items():
        assert ("image" in service) != ("build" in service), name
        if "build" in service:
            assert service["build"]["target"] in targets
            assert (ROOT / "docker" / service["build"]["context"]).resolve() == ROOT
            assert (ROOT / service["build"]["dockerfile"]).exists()
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] in conditions
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[other], f"{name} waits for {other}"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source.startswith("$") or source in compose["volumes"]
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), "not for the whole network"
    for line in text.splitlines():
        if re.search(r"(PASSWORD|SECRET_KEY|ACCESS_KEY)\w*:", line):
            assert "${" in line, line
    asked = set(re.findall(r"\$\{([A-Z0-9_]+)", text))
    assert asked == {line.split("=")[0] for line in (ROOT / "docker/example.env").read_text().splitlines()[1:]}


def test_every_image_is_pinned_and_every_service_that_stays_says_whether_it_is_well():
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
    images = [service["image"] for service in services.values() if "image" in service]
    images += re.findall(r"^FROM (\w+:\S+)", (ROOT / "docker" / "Dockerfile").read_text(), re.MULTILINE)
    assert len(images) == 4
    for image in images:
        assert re.search(r":\d+\.\d+", image), f"{image} is another one tomorrow"
    once = {"buckets"}
    assert {name for name, service in services.items() if "healthcheck" not in service} == once
    assert "condition: service_started" not in (ROOT / "docker" / "compose.yaml").read_text()


def test_no_secret_stands_on_a_command_line_or_goes_into_the_image():
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
    for name, service in services.items():
        line = json.dumps([service.get("command"), service.get("entrypoint"), service.get("healthcheck")])
        assert not re.search(r"\$\{?\w*(PASSWORD|KEY)", line), name
    ignored = pathspec.GitIgnoreSpec.from_lines((ROOT / ".dockerignore").read_text().splitlines())
    for path in ("docker/.env", ".env", "docker/team.env", ".dvc/config.local", "data/raw/a/batch.json",
                 ".dvc/config", "params.yaml", "params.before-upgrade.yaml"):  # fmt: skip
        assert ignored.match_file(path), path
    for path in (
        "examples/x/params.yaml",
        "docker/Dockerfile",
        "oltr_core/layout.py",
        "requirements.lock",
        "data/run.yaml",
    ):
        assert not ignored.match_file(path), path


def test_compose_pins_what_it_starts_and_names_what_browsers_and_graphics_cards_need():
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
    for name, service in services.items():
        assert ("build" in service) != bool(re.fullmatch(r"[\w./-]+:v?[\d.]+", service.get("image", ""))), name
        assert name == "buckets" or "healthcheck" in service, name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
    assert {name: s["profiles"] for name, s in services.items() if "profiles" in s} == {
        "worker-gpu": ["gpu"],
        "label-studio": ["label-studio"],
    }
    assert services["prefect"]["environment"]["PREFECT_UI_API_URL"] == "http://127.0.0.1:4200/api"
    assert RETENTION.items() <= services["prefect"]["environment"].items()
    gpu = services["worker-gpu"]
    assert gpu["build"]["args"] == {"FLAVOUR": "gpu"}
    assert gpu["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    changed = {"build", "profiles", "deploy"}
    assert {k: v for k, v in gpu.items() if k not in changed} == {
        k: v for k, v in services["worker"].items() if k not in changed
    }
    image = (ROOT / "docker" / "Dockerfile").read_text()
    assert {*re.findall(r"\b(uv|psycopg2-binary)[\"]?([=<>~]+)", image)} == {("uv", "=="), ("psycopg2-binary", "==")}


@pytest.mark.parametrize(("pool", "name"), [("", "oltr"), ("process", "oltr"), ("docker", "oltr-docker")])
def test_deployments_go_to_the_pool_that_is_chosen(tmp_path, pool, name):
    layout = Layout(tmp_path)
    shutil.copyfile(ROOT / "prefect.yaml", layout.prefect_yaml)
    found = deploying.variant(layout, pool)
    assert [entry["work_pool"]["name"] for entry in found["deployments"]] == [name] * 4
    step = {"prefect.deployments.steps.set_working_directory": {"directory": str(tmp_path)}}
    assert found["pull"] == ([step] if pool else None)


def test_a_pool_that_is_not_defined_is_answered_with_those_that_are(tmp_path):
    layout = Layout(tmp_path)
    shutil.copyfile(ROOT / "prefect.yaml", layout.prefect_yaml)
    with pytest.raises(ValueError, match=r"definitions.work_pools, found process, docker, kubernetes$"):
        deploying.variant(layout, "podman")


def test_each_deployment_names_a_flow_that_exists_and_its_workspace():
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    name = "{{ $OLTR_NAME }}"
    scheduled = [d["name"].split("-")[0] for d in deployments if d.get("schedules")]
    assert scheduled == ["generation", "annotation", "monitor"], "a full training is made by hand"
    assert all(d["name"].endswith(f"-{name}") and name in d["tags"] for d in deployments)
    for deployment in deployments:
        module, flow = deployment["entrypoint"].rsplit(".", 1)
        text = (ROOT / f"{module.replace('.', '/')}.py").read_text()
        assert re.search(rf"^def {flow}\(", text, re.MULTILINE)


def commands(group, path: tuple[str, ...] = ()):
    for name, command in group.commands.items():
        yield (*path, name), command
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))


def test_every_command_of_the_interface_is_there_and_its_help_has_an_example():
    found = {" ".join(path): command for path, command in commands(cli.oltr)}
    wanted = """loop init check ingest curate train update evaluate select report generations reproduce promote
        rollback predict bench""".split()
    assert not {*wanted, "annotate export", "annotate import", "annotate status", "classes list"} - set(found)
    for name, command in found.items():
        assert "Example:" in (command.epilog or ""), name
        assert command.help, name


def test_help_answers_at_once(looped):
    with processor_seconds() as spent:
        shown = run(looped.layout, "oltr", "--help")
    assert "Example:" in shown.stdout
    assert spent[0] < 0.5


def test_a_usage_error_exits_two_with_a_sentence(looped):
    for command in (
        ["oltr", "loop", "--generations", "0"],
        ["oltr", "loop", "--generations", "3", "--more", "1"],
        ["oltr", "annotate", "export", "0042"],
        ["oltr", "reproduce", "0042"],
        ["oltr", "predict", "/no/such/image.png"],
        ["oltr", "promote", "0042", "--reason", "x", "--by", "eve"],
        ["oltr", "bench", "no-such-table"],
        ["oltr", "bench", "digits", "--epochs", "3"],
        ["oltr", "--workspace", str(Path("/nowhere")), "generations"],
    ):
        done = called(looped.layout, *command)
        if command[-1] != "generations":  # an empty history is no mistake
            assert done.returncode == 2, (command, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr, command
