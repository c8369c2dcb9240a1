"""`oltr forget`, cut off at every step, refused by its remote, and searched for what it left."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from click.testing import CliRunner
from mlflow.artifacts import download_artifacts as mlflow_download

from flows.cli import oltr
from oltr_core import ledger
from oltr_core.layout import Layout
from oltr_core.settings.whole import load_settings
from oltr_core.upkeep import forgetting, search
from tasks import mlflow, storage, workspace
from tasks.dvc import batches, copies, git, objects, pointers, remotes, repository, stages
from tasks.mlflow import replacing
from tasks.prefect import artifacts
from tests.core.data_world import opened, seal
from tests.core.images.test_decode import natural
from tests.flows.worlds import ANY_LETTERS, called, commit, environment, run

WHEN = "2026-05-01T00:00:00Z"
ADDRESS = "photos/dog/02.png"
#: every effect of the removal, in its order
STEPS = (
    (forgetting, "begin"),
    (forgetting, "replace_generations"),
    (forgetting, "clean_batches"),
    (forgetting, "clean_rest"),
    (repository, "add"),
    (repository, "record"),
    (repository, "push"),
    (copies, "forget_features"),
    (objects, "drop"),
    (replacing, "replace"),
    (search, "remove"),
    (artifacts, "remove"),
    (forgetting, "end"),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Layout:
    """A workspace with one batch of photographs, curated by DVC, and a generation that shows them, all pushed."""
    layout = Layout(tmp_path_factory.mktemp("made") / "world")
    workspace.create(layout.root)
    for n in range(12):
        photo = layout.root / "photos" / ("cat" if n % 2 else "dog") / f"{n:02d}.png"
        photo.parent.mkdir(parents=True, exist_ok=True)
        natural(n, 80 if n < 8 else 30).save(photo)
    params = yaml.safe_load(layout.params.read_text())
    params["sources"] = [{"batch": "b", "sources": [{"name": "folder", "path": "photos"}]}]
    layout.params.write_text(yaml.safe_dump(params))
    batches.take_in(layout, load_settings(layout), "b", storage.source_access(layout), WHEN)
    opened(layout, 0, "genesis", "train")
    for stage in ("code", "curate"):
        stages.bring_up_to_date(stage, layout)
    layout.work.contact_sheet.write_bytes(np.random.default_rng(0).bytes(5000))
    ledger.append(layout.ledger, ledger.Event("opened", "0000", "", WHEN, {"parent": "genesis"}))
    seal(layout, 0)
    repository.add(layout, layout.generation("0000").folder)
    repository.push(layout, layout.generation("0000").folder, stages=True)
    return layout


@pytest.fixture
def photos(made, tmp_path) -> Layout:
    shutil.copytree(made.root, tmp_path / "world")
    layout = Layout(tmp_path / "world")
    config = layout.root / ".dvc" / "config"
    config.write_text(config.read_text().replace(str(made.root.resolve()), str(layout.root.resolve())))
    return layout


def shown(layout: Layout, address: str) -> list[bytes]:
    """Pieces of the image and of its thumbnail, as text too."""
    index = pl.read_parquet(layout.batch("b").index).filter(address=address).row(0, named=True)
    values = [(layout.root / address).read_bytes()]
    values += pl.read_parquet(layout.batch("b").thumbnails).filter(image_id=index["image_id"])["jpeg"].to_list()
    return [piece for value in values for piece in search.pieces(value)]


def forget(layout: Layout, *names: str):
    return CliRunner().invoke(oltr, ["--workspace", str(layout.root), "forget", *names, "--yes"])


def test_the_question_names_the_images_and_is_not_asked_about_one_that_nobody_knows(photos):
    asked, unknown = (
        CliRunner().invoke(oltr, ["--workspace", str(photos.root), "forget", name], input="n\n")
        for name in (ADDRESS, "nowhere.png")
    )
    assert asked.output.startswith(f"Forget 1 image permanently: {ADDRESS}? [y/N]")
    assert "permanently" not in unknown.output
    assert "nowhere.png: no batch holds an image of this id or address" in str(unknown.exception)


def assert_gone(layout: Layout, pieces: list[bytes]) -> None:
    assert search.holding([layout.data, *layout.owned], pieces) == []
    state = ledger.replay(ledger.read(layout.ledger))
    assert state.forgetting == {}
    assert len(state.forgotten) == 1
    assert not layout.forgetting.exists()
    for name in state.sealed:
        ledger.verify_sealed(layout.ledger, layout.generation(name).folder)


class Cut(BaseException):
    """The power went."""


@pytest.mark.parametrize(("module", "name"), STEPS, ids=[f"{m.__name__}.{n}" for m, n in STEPS])
def test_a_removal_that_was_cut_off_before_any_step_is_ended_by_the_same_command(photos, monkeypatch, module, name):
    pieces = shown(photos, ADDRESS)
    assert len(search.holding(photos.owned, pieces)) >= 6, "batch, data card and thumbnails, in cache and remote too"
    with monkeypatch.context() as power:

        def cut(*_, **__):
            raise Cut

        power.setattr(module, name, cut)
        with pytest.raises(Cut):
            forget(photos, ADDRESS)
    if name == "begin":
        assert len(search.holding(photos.owned, pieces)) >= 6, "nothing is changed before the ledger says so"
    done = forget(photos, ADDRESS)
    assert done.exit_code == 0, done.exception
    assert "forgot 1 image:" in done.output
    assert_gone(photos, pieces)


def test_what_a_kill_took_from_the_workspace_in_the_middle_comes_back_without_the_image(photos, monkeypatch):
    pieces = shown(photos, ADDRESS)
    with monkeypatch.context() as power:

        def cut(layout, *_):
            shutil.rmtree(layout.batch("b").folder)
            raise Cut

        power.setattr(repository, "add", cut)
        with pytest.raises(Cut):
            forget(photos, ADDRESS)
    done = forget(photos)
    assert done.exit_code == 0, done.exception
    assert len(pl.read_parquet(photos.batch("b").index)) == 11
    assert_gone(photos, pieces)


def test_a_removal_that_was_cut_off_after_its_tombstone_leaves_nothing_either(photos, monkeypatch):
    pieces = shown(photos, ADDRESS)
    with monkeypatch.context() as power:

        def cut(*_, **__):
            raise Cut

        append = ledger.append
        power.setattr(ledger, "append", lambda path, e: append(path, e) and (e.event == "forgotten") and cut())
        with pytest.raises(Cut):
            forget(photos, ADDRESS)
    assert photos.forgetting.exists()
    assert forget(photos, ADDRESS).output.strip() == "these images were forgotten before"
    assert_gone(photos, pieces)


KILLED = """
import os, signal, sys
from flows.cli import main
from importlib import import_module
module = import_module(sys.argv.pop(1))
name = sys.argv.pop(1)
do = getattr(module, name)
def killed(*arguments, **named):
    do(*arguments, **named)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(module, name, killed)
main()
"""


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("oltr_core.upkeep.forgetting", "_blank"),
        ("oltr_core.upkeep.forgetting", "rename_into_place"),
        ("tasks.dvc.repository", "add"),
    ],
)
def test_a_removal_that_was_killed_is_ended_without_a_name(photos, module, name):
    pieces = shown(photos, ADDRESS)
    command = [sys.executable, "-P", "-c", KILLED, module, name, "--workspace", str(photos.root), "forget", ADDRESS]
    killed = subprocess.run([*command, "--yes"], env=environment(), capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    checked = CliRunner().invoke(oltr, ["--workspace", str(photos.root), "check"])
    assert "✗ history   `oltr forget` was cut off; `oltr forget` without a name, or the next loop, ends it" in (
        checked.output
    )
    done = forget(photos)
    assert done.exit_code == 0, done.exception
    assert_gone(photos, pieces)


def test_a_remote_that_refuses_once_gets_and_keeps_nothing_of_the_image(photos):
    pieces = shown(photos, ADDRESS)
    aside = photos.remote.with_name("aside")
    photos.remote.rename(aside)
    photos.remote.write_text("no folder")
    refused = forget(photos, ADDRESS)
    assert refused.exit_code != 0
    photos.remote.unlink()
    aside.rename(photos.remote)
    assert search.holding([photos.remote], pieces), "nothing was deleted there yet"
    assert ledger.replay(ledger.read(photos.ledger)).forgetting["images"]
    done = forget(photos)
    assert done.exit_code == 0, done.exception
    assert_gone(photos, pieces)


def test_what_the_search_finds_is_named_and_the_removal_is_not_over_before_it_is_gone(photos):
    pieces = shown(photos, ADDRESS)
    copy = photos.prefect_home / "somewhere" / "copy.bin"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"before" + (photos.root / ADDRESS).read_bytes())
    found = forget(photos, ADDRESS).exception
    assert str(found) == (
        f"{copy}: a search found something of a forgotten image here; remove it, and `oltr forget` goes on from here"
    )
    copy.unlink()
    assert forget(photos).exit_code == 0
    assert_gone(photos, pieces)


def test_commits_that_hold_the_file_of_the_image_are_named_and_left_to_its_owner(photos, monkeypatch):
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "tests")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "tests@oltr")
    git.commit(photos, "0000", "without pictures")
    run(photos, "git", "add", "--force", ADDRESS)  # as `versions.commit` did in versions before
    git.commit(photos, "0001", "of the index and not of a user's commit")
    assert forget(photos, "photos/dog/04.png").exit_code == 0
    run(photos, "git", "commit", "--quiet", "-m", "pictures")
    git.commit(photos, "0002", "with it")
    done = forget(photos, ADDRESS)
    assert "a search found nothing of them outside of git; weights" in str(done.exception)
    assert "git still has their files, in the history of oltr/generations, oltr/0002: delete" in str(done.exception)
    state = ledger.replay(ledger.read(photos.ledger))
    assert (state.forgetting, len(state.forgotten)) == ({}, 2), "it is over"


def test_the_same_pixels_in_another_encoding_stay_and_are_not_taken_for_what_is_left(tmp_path, made):
    shutil.copytree(made.root, tmp_path / "world", ignore=shutil.ignore_patterns("0000*", "raw", "truth", "ledger*"))
    layout = Layout(tmp_path / "world")
    remotes.set_remote(layout, str(tmp_path / "remote"))
    natural(9, 30).save(layout.root / "photos" / "cat" / "same.bmp")
    batches.take_in(layout, load_settings(layout), "b", storage.source_access(layout), WHEN)
    done = forget(layout, "photos/cat/09.png")
    assert done.exit_code == 0, done.exception
    assert search.holding([layout.raw], search.pieces(natural(9, 30).tobytes()))
    assert ledger.replay(ledger.read(layout.ledger)).forgetting == {}


def test_a_remote_that_is_no_folder_is_asked_for_what_the_cache_has_lost_and_searched_to_its_last_object(
    photos,
    s3,
):
    client, pieces = s3._client(), shown(photos, ADDRESS)
    client.create_bucket(Bucket="forgetful")
    remotes.set_remote(photos, "s3://forgetful/dvc")
    repository.push(photos, *repository.tracked(photos), stages=True)
    shard = pointers.pointer(photos.batch("b").folder)["md5"]
    shutil.rmtree(photos.dvc_cache)
    shutil.rmtree(photos.remote)
    old = io.BytesIO()
    pl.DataFrame({"jpeg": [(photos.root / ADDRESS).read_bytes()]}).write_parquet(old)
    client.put_object(Bucket="forgetful", Key=f"dvc/files/md5/ab/{'c' * 30}", Body=old.getvalue())
    done = forget(photos, ADDRESS)
    assert "in this workspace; weights" in str(done.exception)
    assert str(done.exception).endswith(
        f"but s3://forgetful/dvc/files/md5/ab/{'c' * 30} still hold something of them for other workspaces"
    )
    assert_gone(photos, pieces)
    (begun,) = (e for e in ledger.read(photos.ledger) if e.event == "forgetting")
    assert shard in begun.details["objects"]
    left = {uri for uri in s3.list_below("s3://forgetful/") if search.holds(io.BytesIO(s3.read(uri)), pieces)}
    assert [uri[-30:] for uri in left] == ["c" * 30]


def test_a_folder_without_a_list_of_its_files_in_any_store_is_named_before_anything_is_changed(photos):
    folder, before = photos.batch("b").folder, photos.ledger.read_bytes()
    shutil.rmtree(photos.dvc_cache)
    shutil.rmtree(photos.remote)
    assert str(forget(photos, ADDRESS).exception) == (
        f"{folder}.dvc: neither DVC's cache nor the remote has the list of its files, so they cannot be named; `dvc "
        f"add {folder}` writes it again where the data are here"
    )
    assert photos.ledger.read_bytes() == before
    repository.add(photos, folder)
    assert len(objects.named(photos, folder)) == 1 + sum(path.is_file() for path in folder.rglob("*"))


def test_a_cache_that_lies_elsewhere_is_searched_too(photos, tmp_path):
    cache = tmp_path / "cache"
    photos.dvc_cache.rename(cache)
    remotes.configure(photos.dvc_config_local, "cache", dir=str(cache))
    copy = cache / "files" / "md5" / "of another"
    shutil.copyfile(photos.root / ADDRESS, copy)
    said = str(forget(photos, ADDRESS).exception)
    assert said.endswith(f"but {copy} still hold something of them for other workspaces")


class LabelStudio(BaseHTTPRequestHandler):
    """What Label Studio answers to those who list projects and tasks, and delete one; `down` at first."""

    down = True
    tasks: list[dict]

    def do_GET(self):
        if self.down:
            return self.answered(503, {"detail": "starting"})
        if self.path.startswith("/api/projects/"):
            return self.answered(200, {"count": 1, "results": [{"id": 7, "title": "oltr deer"}]})
        assert "project=7" in self.path
        return self.answered(200, {"total": len(self.tasks), "tasks": self.tasks})

    def do_DELETE(self):
        self.tasks[:] = [task for task in self.tasks if f"/api/tasks/{task['id']}/" != self.path]
        return self.answered(204)

    def answered(self, status: int, body: object = None) -> None:
        sent = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def log_message(self, *arguments):
        pass


@pytest.mark.filterwarnings("ignore")  # botocore's own
def test_tasks_of_the_image_leave_label_studio_and_the_removal_is_not_over_before(photos, monkeypatch, s3):
    index = pl.read_parquet(photos.batch("b").index, glob=False)
    (image,) = index.filter(address=ADDRESS)["image_id"].to_list()
    (other, *_) = index.filter(pl.col("image_id") != image)["image_id"].to_list()
    asked = [("0000", other), ("0000", image), ("0001", image)]
    monkeypatch.setattr(LabelStudio, "down", True)
    monkeypatch.setattr(
        LabelStudio,
        "tasks",
        [{"id": n, "data": {"batch": b, "image_id": i}} for n, (b, i) in enumerate(asked)] + [{"id": 9, "data": {}}],
        raising=False,
    )
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "sesame")
    s3._client().create_bucket(Bucket="shown")
    pictures = [f"s3://shown/deer/{batch}/{of}-{'d' * 64}.png" for batch, of in asked]
    for uri in pictures:
        s3.put(uri, (photos.root / ADDRESS).read_bytes() if image in uri else b"another", "image/png")
    with ThreadingHTTPServer(("127.0.0.1", 0), LabelStudio) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        params = yaml.safe_load(photos.params.read_text())
        params["workspace"] = {"name": "deer"}
        url = f"http://127.0.0.1:{server.server_port}"
        params["annotator"] = {"name": "label_studio", "url": url, "pictures": "s3://shown/deer"}
        photos.params.write_text(yaml.safe_dump(params))
        assert "the server answered 503" in str(forget(photos, ADDRESS).exception)
        assert ledger.replay(ledger.read(photos.ledger)).forgetting["images"] == [image]
        LabelStudio.down = False
        done = forget(photos)
        server.shutdown()
    assert done.exit_code == 0, done.exception
    assert [task["id"] for task in LabelStudio.tasks] == [0, 9]
    assert {uri: s3.read(uri) for uri in s3.list_below("s3://shown/")} == {pictures[0]: b"another"}
    assert ledger.replay(ledger.read(photos.ledger)).forgotten == {image}


def test_data_that_are_not_here_are_asked_for_before_anything_is_changed(photos):
    shutil.rmtree(photos.generation("0000").folder)
    before = photos.ledger.read_bytes()
    assert "`dvc pull` restores what is missing" in str(forget(photos, ADDRESS).exception)
    assert photos.ledger.read_bytes() == before


def test_without_a_name_there_must_be_something_to_end(photos):
    assert "nothing was cut off" in str(forget(photos).exception)


# --- a whole loop ----------------------------------------------------------------------------------------------


def test_everything_works_where_the_path_has_any_letters(looped):
    layout = looped.layout
    assert layout.root.name == ANY_LETTERS
    assert "does not show this yet" not in looped.progress
    assert ledger.replay(ledger.read(layout.ledger)).champion == "0001"
    assert "url = ../.oltr/remote" in layout.dvc_config.read_text()
    assert layout.prefect_db.exists()
    assert [path.name for path in layout.root.parent.iterdir()] == [layout.root.name], "nothing beside the workspace"
    checked = called(layout, "oltr", "check")
    assert checked.returncode == 0, checked.stdout
    advice = "; the lines marked ! are advice" if "\n!" in checked.stdout else ""
    assert checked.stdout.endswith(f"\nthis workspace is fit to run{advice}\n")
    assert not [line for line in checked.stdout.splitlines() if line.startswith(("! dvc", "! remote", "! mlflow"))]
    settings = load_settings(layout).tracking
    mlflow.connect(layout, settings)
    assert {r.data.tags["oltr.generation"] for r in mlflow.runs(settings)} == {"0000", "0001"}


def test_after_a_loop_nothing_of_a_forgotten_image_is_in_any_file_or_database(forgotten):
    layout, pieces, done = forgotten.layout, forgotten.pieces, forgotten.done
    assert done.returncode == 0, done.stderr
    places = {path.relative_to(layout.root).as_posix().split("/")[0] for path in forgotten.before}
    assert places >= {"data", "mlartifacts", ".oltr", ".dvc"}
    names = {path.name for path in forgotten.before}
    assert names >= {
        "batch.png",
        "report.html",
        "model.safetensors",
        "features.npy",
        "prefect.db",
        "shard-00000.arrow",
    }
    assert_gone(layout, pieces)
    everything = [p for p in layout.root.rglob("*") if p.is_file()]
    assert search.holding(everything, pieces) == []
    assert "until the next full training" in done.stdout


def test_mlflow_shows_the_cleaned_generations_as_the_same_runs(forgotten):
    layout = forgotten.layout
    settings = load_settings(layout).tracking
    client = mlflow.connect(layout, settings)
    sealed = ledger.replay(ledger.read(layout.ledger)).sealed
    found = mlflow.runs(settings)
    assert {r.data.tags["oltr.generation"]: r.data.tags["oltr.digest"] for r in found} == sealed
    for run_ in found:
        shown = {f.path for f in client.list_artifacts(run_.info.run_id)}
        assert "report.html" in shown
        assert layout.generation("0000").contact_sheet.name not in shown
    assert mlflow.mirror(layout, settings) == []
    version = client.get_model_version_by_alias(settings.model, mlflow.CHAMPION)
    place = Path(mlflow_download(f"models:/{settings.model}/{version.version}"))
    champion = layout.generation(ledger.replay(ledger.read(layout.ledger)).champion)
    assert (place / "artifacts" / "model.safetensors").read_bytes() == champion.model.read_bytes()


def test_a_clone_pulls_all_that_is_named_and_the_old_generation_says_why_it_cannot_be_made_again(forgotten, tmp_path):
    layout = forgotten.layout
    commit(layout, "forgotten")
    clone = Layout(tmp_path / "clone")
    subprocess.run(["git", "clone", "--quiet", str(layout.root), str(clone.root)], check=True)
    assert run(clone, "oltr", "init", ".").returncode == 0  # names the remote of the original
    pulled = run(clone, "dvc", "pull")
    assert pulled.returncode == 0, pulled.stderr
    again = run(clone, "oltr", "reproduce", "0000")
    assert again.returncode == 2
    assert "`oltr forget` has removed since, so it cannot be made again" in again.stderr
    assert "Traceback" not in again.stderr


def test_the_loop_goes_on_after_it_in_a_workspace_from_a_backup(forgotten, gone_on):
    layout = gone_on.layout
    (image_id,) = ledger.replay(ledger.read(layout.ledger)).forgotten
    assert image_id not in pl.read_parquet(layout.generation("0002").manifest, glob=False)["image_id"].to_list()
    assert_gone(layout, forgotten.pieces)
