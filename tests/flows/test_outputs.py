"""What a loop leaves in data/work is what the table of stages declares."""

from __future__ import annotations

from oltr_core.pipeline import KEPT, STAGES
from tests.architecture.test_pipeline import outs_of


def test_a_loop_makes_exactly_the_outputs_that_are_declared_and_seals_them(looped):
    declared = {out for s in STAGES for out in outs_of(s)}
    work = looped.layout.work.folder
    made = {p.relative_to(looped.layout.root).as_posix() for p in work.rglob("*") if p.is_file()}
    inside = {m for m in made if any(m.startswith(f"{d}/") for d in declared)}
    assert made - inside == declared - {"data/work/plots", "data/work/code"}
    sealed = looped.layout.generation("0001").folder
    assert all((sealed / name).exists() for name in KEPT)
    assert not (sealed / "base.safetensors").exists()
    assert (work / "base.safetensors").exists()
