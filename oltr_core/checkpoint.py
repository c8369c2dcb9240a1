"""A checkpoint is one safetensors file: the weights, and in its header the card. Nothing is pickled.

Loading needs that file and nothing else: the card has how to build the network, what its columns mean, how an
image is prepared, and how its prediction becomes "unknown".
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from oltr_core import digest
from oltr_core.files import write_atomically
from oltr_core.images.transforms import Transform
from oltr_core.interfaces import ClassStatistics, Outputs, State
from oltr_core.models import Network, NetworkSpec
from oltr_core.settings.costs import Costs
from oltr_core.spec import Spec, parse

VERSION = 3
ThresholdBy = Literal["known_kept", "shots_kept", "unknown_accepted", "cheapest", "paper"]
_CARD = "oltr.card"
_SCORE, _STATISTICS = "score.", "statistics."
_GROUPS = ("kept", "totals", "exemplars", "projected")  # of the statistics: dicts; all but `kept` since version 3


class OutputClasses(Spec):
    """What the columns of a network say by a register in which a class of theirs was merged, split or retired."""

    ids: list[int]  # of the classes that are left to predict
    names: list[str]
    of: list[int]  # per column, the number of its class among `ids`; -1: of none

    def of_columns(self, values: torch.Tensor) -> torch.Tensor:
        """Per class the sum of `values` [K] over its columns."""
        of = torch.tensor(self.of)
        return torch.zeros(len(self.ids), dtype=values.dtype).index_add_(0, of[of >= 0], values[of >= 0])


class Card(Spec):
    """What a network is, beside its weights."""

    version: int = VERSION
    class_ids: list[int]  # in column order
    class_names: list[str] = []  # in column order, by the register; `update` fills them in
    class_counts: list[int]  # training images per column
    output_classes: OutputClasses | None = None  # None: each column is a class of its own
    parents: dict[str, str] = {}  # name of a class or of a parent -> that of its parent
    roll_up: float = 0.0  # a class less probable than this becomes its parent; 0: never
    network: NetworkSpec
    transform: Transform
    score: dict[str, Any] = {}  # the Spec of the score whose fitted state the file holds; empty: none yet
    threshold: float | None = None  # of that score: larger is unknown
    target_tpr: float = 0.95  # share of known validation images that the threshold was to accept
    threshold_by: ThresholdBy = "known_kept"  # what it was chosen for, `oltr_core.operating`
    unknown_accepted: float = 0.2  # at most so many unknown validation images, where it was chosen for that
    costs: Costs = Costs()  # of errors, where it was chosen by these
    tuned_on_unknown: int = 0  # validation images of unknown classes that it was chosen on
    class_balanced: bool = False  # whether every class counted alike in that share
    reference_seed: int = 0  # of the pseudo-features that scores are fitted on
    temperature: float = 1.0  # logits are divided by it for calibrated probabilities
    parent: str = ""  # the generation it was extended from
    recipe: dict[str, Any] = {}  # the `train` section of its full training
    trunk_digest: str = ""  # filled in by `save`
    head_digest: str = ""

    @property
    def output_class_ids(self) -> list[int]:
        """The classes that the model can predict."""
        return self.output_classes.ids if self.output_classes else self.class_ids

    @property
    def output_class_names(self) -> list[str]:
        """Their names, by the register of the model's generation."""
        return self.output_classes.names if self.output_classes else self.class_names

    @property
    def output_class_counts(self) -> list[int]:
        """Their training images: those of all their columns."""
        counts = (
            self.output_classes.of_columns(torch.tensor(self.class_counts))
            if self.output_classes
            else self.class_counts
        )
        return counts.tolist() if isinstance(counts, torch.Tensor) else counts

    def merge_columns(self, outputs: Outputs) -> Outputs:
        """Outputs with a column per class that the model can predict, of those of its network."""
        return outputs.merge_columns(self.output_classes.of) if self.output_classes else outputs


@dataclass(frozen=True)
class Checkpoint:
    """A model as its file has it: the network, and what belongs to it."""

    network: Network  # in evaluation mode
    card: Card
    score_state: State = field(default_factory=dict)
    statistics: ClassStatistics | None = None


def digest_of(tensors: dict[str, torch.Tensor]) -> str:
    """Digest of names, types, shapes and values."""
    parts = [
        [name, str(t.dtype), list(t.shape), digest.of_bytes(t.detach().cpu().contiguous().numpy().tobytes())]
        for name, t in sorted(tensors.items())
    ]
    return digest.of_value(parts)


def save(
    path: Path, network: Network, card: Card, score: State | None = None, statistics: ClassStatistics | None = None
) -> Card:
    """Write the file atomically; returns the card with its digests. Equal content gives equal bytes."""
    assert len(card.class_ids) == network.num_classes, "one class id per column"
    trunk, head = network.trunk_state(), network.head_state()
    digests = {"trunk_digest": digest_of(trunk), "head_digest": digest_of(head)}
    card = card.model_copy(update={"network": network.spec, **digests})
    tensors = {**trunk, **head}
    tensors |= {f"{_SCORE}{name}": tensor for name, tensor in (score or {}).items()}
    if statistics is not None:
        named = {"means": statistics.means, "stds": statistics.stds, "counts": statistics.counts}
        for group in _GROUPS:
            named |= {f"{group}.{name}": tensor for name, tensor in getattr(statistics, group).items()}
        tensors |= {f"{_STATISTICS}{name}": tensor for name, tensor in named.items()}
    # safetensors refuses tensors that share memory, as the slices of one buffer do
    tensors = {name: t.detach().cpu().contiguous().clone() for name, t in sorted(tensors.items())}
    write_atomically(path, to_bytes(tensors, metadata={_CARD: card.model_dump_json()}))
    return card


def read_card(path: Path) -> Card:
    """The card alone: reads the header, not the weights.

    Raises ValueError naming the file when it is missing, is no safetensors file or carries no card of this version.
    """
    with _open(path) as file:
        text = (file.metadata() or {}).get(_CARD)
    if text is None:
        raise ValueError(f"{path}: expected an oltr checkpoint, found a safetensors file without its card")
    raw = json.loads(text)
    if raw.get("version") not in range(1, VERSION + 1):
        raise ValueError(f"{path}: expected a checkpoint of version {VERSION}, found version {raw.get('version')}")
    return parse(Card, _migrated(raw), str(path))


def _migrated(raw: dict[str, Any]) -> dict[str, Any]:
    """A card of an older version as one of this."""
    head = dict(raw["network"]["head"])
    if raw["version"] == 1 and "rate" in head:
        head["centroid_rate"] = head.pop("rate")
    if "answers" in raw:  # the key's name before 0.2.0 was complete
        raw["output_classes"] = raw.pop("answers")
    return {**raw, "version": VERSION, "network": {**raw["network"], "head": head}}


def load(path: Path, device: str | torch.device = "cpu") -> Checkpoint:
    """Network, card, fitted score and old statistics. Raises ValueError naming the file.

    Only the network goes to `device`: scores and statistics work on its outputs, which come back to the CPU.
    """
    card = read_card(path)
    with _open(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    score, statistics = _take(tensors, _SCORE), _take(tensors, _STATISTICS)
    network = card.network.without_downloads()(len(card.class_ids))
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        said = str(error).splitlines()[-1].strip()
        raise ValueError(f"{path}: the weights are not those of the network on its card ({said})") from None
    found = digest_of(network.trunk_state()), digest_of(network.head_state())
    if found != (card.trunk_digest, card.head_digest):
        raise ValueError(f"{path}: the weights were changed after they were written; `dvc checkout` restores them")
    network.to(device).eval()
    kept, totals, exemplars, projected = (_take(statistics, f"{group}.") for group in _GROUPS)
    if not statistics:
        return Checkpoint(network, card, score)
    whole = ClassStatistics(**statistics, kept=kept, totals=totals, exemplars=exemplars, projected=projected)
    return Checkpoint(network, card, score, whole)


def _open(path: Path) -> Any:
    if not path.is_file():
        raise ValueError(f"{path}: this model is not here; `dvc pull` or `dvc repro` brings it back")
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: expected a safetensors file, found something else ({error})") from None


def _take(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Take the tensors of one prefix out of the dict, without the prefix."""
    return {name.removeprefix(prefix): tensors.pop(name) for name in list(tensors) if name.startswith(prefix)}
