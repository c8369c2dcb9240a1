"""Which fast tests have to notice a wrong change in which room."""

from __future__ import annotations

CORE = "tests/core"
#: room -> pytest's arguments; the most specific room whose path begins a file's path answers for it
ROOMS: dict[str, list[str]] = {
    "oltr_core/losses": [
        f"{CORE}/equations/test_losses.py",
        f"{CORE}/contracts/test_losses.py",
        f"{CORE}/test_defaults.py",
    ],
    "oltr_core/samplers": [f"{CORE}/contracts/test_samplers.py", f"{CORE}/test_defaults.py"],
    "oltr_core/scores": [
        f"{CORE}/equations/test_scores.py",
        f"{CORE}/contracts/test_scores.py",
        f"{CORE}/test_operating.py",
        f"{CORE}/test_defaults.py",
    ],
    "oltr_core/strategies": [
        f"{CORE}/equations/test_strategies.py",
        f"{CORE}/contracts/test_strategies.py",
        f"{CORE}/test_defaults.py",
    ],
    "oltr_core/learners": [
        f"{CORE}/equations/test_learners.py",
        f"{CORE}/contracts/test_learners.py",
        f"{CORE}/test_defaults.py",
    ],
    "oltr_core/class_statistics.py": [f"{CORE}/equations/test_learners.py", f"{CORE}/test_operating.py"],
    "oltr_core/models": [
        f"{CORE}/equations/test_memory.py",
        f"{CORE}/equations/test_meta_embedding.py",
        f"{CORE}/equations/test_attention.py",
        f"{CORE}/equations/test_backbones.py",
        f"{CORE}/contracts/test_models.py",
        f"{CORE}/test_defaults.py",
    ],
    "oltr_core/metrics": [f"{CORE}/equations/test_open_set.py", f"{CORE}/equations/test_metrics.py"],
    "oltr_core/operating": [f"{CORE}/test_operating.py"],
    "oltr_core/interfaces.py": [f"{CORE}/equations/test_interfaces.py", f"{CORE}/equations/test_strategies.py"],
    "oltr_core/inference.py": [f"{CORE}/test_operating.py", f"{CORE}/stages/test_update_evaluate_select.py"],
    "oltr_core/checkpoint.py": [f"{CORE}/test_checkpoint.py"],
    "oltr_core/training": [
        f"{CORE}/training/test_plain_loop.py",
        f"{CORE}/training/test_recipe.py",
        f"{CORE}/test_defaults.py",
        f"{CORE}/training/test_mixing.py",
        f"{CORE}/training/test_fit.py",
        "--deselect",
        f"{CORE}/training/test_fit.py::test_a_training_killed_in_mid_step_continues_to_the_same_weights",
        "--deselect",
        f"{CORE}/training/test_fit.py::test_a_compiled_network_trains_as_the_plain_one_and_is_saved_by_the_same_names",
    ],
    "oltr_core/training/parallel.py": [f"{CORE}/training/test_parallel.py"],
    "oltr_core/images": [
        f"{CORE}/images/test_names_for_ever.py",
        f"{CORE}/images/test_transforms.py",
        f"{CORE}/images/test_policies.py",
        f"{CORE}/images/test_shards.py",
        f"{CORE}/images/test_decode.py",
        f"{CORE}/test_defaults.py",
    ],
    "oltr_core/images/dataset.py": [f"{CORE}/images/test_dataset.py"],
    "oltr_core/ingest": [f"{CORE}/ingest"],
    "oltr_core/curation": [f"{CORE}/curation"],
    "oltr_core/upkeep": [f"{CORE}/upkeep"],
    "oltr_core/stages": [
        f"{CORE}/stages/test_wiring.py",
        f"{CORE}/stages/test_update_evaluate_select.py",
        f"{CORE}/stages/test_train.py",
        f"{CORE}/stages/test_report.py",
    ],
    "oltr_core/ledger.py": [f"{CORE}/test_ledger.py"],
    "oltr_core/schema.py": [f"{CORE}/test_schema.py"],
    "oltr_core/spec.py": [f"{CORE}/test_spec_and_settings.py"],
    "oltr_core/settings": [f"{CORE}/test_spec_and_settings.py"],
    "oltr_core/benchmark": [f"{CORE}/benchmark"],
    "tasks": ["tests/tasks"],
}


def room_of(path: str) -> str | None:
    """The room that answers for a file; None where no fast test is named for it."""
    rooms = [room for room in ROOMS if path == room or path.startswith(f"{room}/")]
    return max(rooms, key=len, default=None)
