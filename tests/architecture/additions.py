"""One addition of each kind as a commit would make it: kind -> file -> its text if it is new, else an edit."""

from __future__ import annotations

import re
from collections.abc import Callable

Edit = Callable[[str], str]


def member(union: str, name: str, above: str) -> Edit:
    """Into the file of a union: `above` it an import or a class, and `name` as its first member."""

    def edit(text: str) -> str:
        new, count = re.subn(rf"^({union} = Annotated\[\s*)", rf"{above}\n\n\1{name} | ", text, flags=re.MULTILINE)
        assert count == 1, f"there is no union {union}"
        return new

    return edit


def before(line: str, added: str) -> Edit:
    """`added` above the line that begins with `line`."""

    def edit(text: str) -> str:
        assert text.count(line) == 1, line
        return text.replace(line, added + line)

    return edit


def default(beside: str, row: str) -> dict[str, str | Edit]:
    """The defaults of a new member, above those of the member of its slot that is `beside`."""
    return {"tests/core/test_defaults.py": before(f'        "{beside}": {{', f"        {row},\n")}


LOSS = '''
"""Brier's score as a loss: squared errors of the probabilities."""

from typing import Literal

from oltr_core.losses.base import LossSpec, probabilities


class Brier(LossSpec):
    """L = Σ_k (p_k - y_k)^2 (Brier, 1950)."""

    name: Literal["brier"] = "brier"

    def __call__(self, outputs, targets, context):
        y = probabilities(targets, outputs.logits)
        return {self.name: self.weight * (outputs.logits.softmax(2) - y).square().sum(2).mean()}
'''

SAMPLER = '''
"""No chance: the images as they lie."""

from typing import Literal

import torch

from oltr_core.spec import Spec


class Cyclic(Spec):
    """Every image once, in the order of the table."""

    name: Literal["cyclic"] = "cyclic"

    def __call__(self, labels, progress, generator):
        return torch.arange(len(labels))[None]
'''

SCORE = '''
"""How far the best class is ahead of the next."""

from typing import Literal

from oltr_core.scores.base import ScoreSpec


class LogitGap(ScoreSpec):
    """score = z_2 - z_1, the two largest logits."""

    name: Literal["logit_gap"] = "logit_gap"

    def __call__(self, outputs, state):
        first, second = outputs.mean_logits.topk(2).values.unbind(1)
        return second - first
'''

NETWORK_SCORE = '''
"""Unknown is what is recognised worse in the dark."""

from typing import ClassVar, Literal

from oltr_core.scores.base import ScoreSpec


class Darkened(ScoreSpec):
    """score = - max logit of the image at half its contrast."""

    name: Literal["darkened"] = "darkened"
    needs: ClassVar = "network"

    def perturb(self, network, images):
        return images / 2

    def __call__(self, outputs, state):
        return -outputs.mean_logits.amax(1)
'''

LEARNER = '''
"""New classes that are predicted less readily."""

from typing import Literal

from oltr_core.learners.fine_tune import heads_of
from oltr_core.learners.base import LearnerSpec
from oltr_core.learners.imprint import Imprint


class Timid(LearnerSpec):
    """As `imprint`, the new rows at half their length."""

    name: Literal["timid"] = "timid"

    def __call__(self, parent, old, new, generator):
        network, statistics = Imprint()(parent, old, new, generator)
        for head in heads_of(network):
            head.weight.data[parent.num_classes :] /= 2
        return network, statistics
'''

STRATEGY = '''
"""The newest images first."""

from typing import Literal

import torch

from oltr_core.interfaces import Picks
from oltr_core.spec import Spec


class FromTheEnd(Spec):
    """The last rows of the pool first."""

    name: Literal["from_the_end"] = "from_the_end"

    def __call__(self, pool, budget, generator):
        indices = torch.arange(len(pool.logits)).flip(0)[:budget]
        return Picks(indices, ["new"] * len(indices), indices.float())
'''

BACKBONE = '''
"""The least that is a backbone."""

from typing import Literal

from torch import nn

from oltr_core.models.backbones.residual import Parts
from oltr_core.spec import Spec


class Patches(Spec):
    """One convolution per expert."""

    name: Literal["patches"] = "patches"
    width: int = 8

    def __call__(self, experts, last_relu):
        return Parts(nn.Identity(), [nn.Conv2d(3, self.width, 4, 4) for _ in range(experts)], self.width)
'''

HEAD = '''
"""A linear classifier that is less sure of its classes."""

from typing import Literal

from oltr_core.models.heads.linear import LinearHead
from oltr_core.spec import Spec


class Tempered(Spec):
    """z = (W v + b) / T."""

    name: Literal["tempered"] = "tempered"
    temperature: float = 2.0

    def __call__(self, num_classes, num_features):
        return TemperedHead(self.temperature, num_classes, num_features)


class TemperedHead(LinearHead):
    """A linear head whose logits are divided by T; continued and extended by rows of that scale."""

    def __init__(self, temperature, num_classes, num_features):
        super().__init__(num_classes, num_features)
        self.temperature = temperature

    def forward(self, x):
        classified = super().forward(x)
        return classified._replace(logits=classified.logits / self.temperature)

    def as_linear(self):
        return tuple(of / self.temperature for of in super().as_linear())

    def warm_start(self, weight, bias):
        super().warm_start(weight * self.temperature, bias * self.temperature)
'''

SOURCE = '''
"""Images without content."""

from typing import Literal

import numpy as np

from oltr_core.ingest.record import Record
from oltr_core.spec import Spec


class Noise(Spec):
    """Random pixels, for tests of throughput."""

    name: Literal["noise"] = "noise"
    images: int = 3

    def __call__(self, access):
        rng = np.random.default_rng(0)
        for i in range(self.images):
            yield Record(f"noise/{i}", rng.integers(0, 256, (16, 16, 3), dtype=np.uint8), label="noise")
'''

METRIC = '''
def balanced_error(known, unknown, threshold: float) -> float:
    """The mean of the share of known images rejected and that of open images accepted."""
    return (float((known > threshold).double().mean()) + float((unknown <= threshold).double().mean())) / 2
'''

ANNOTATOR = '''
"""A person who answers at once, and always the same."""

from tasks.annotator import batch


def publish(layout, settings, name, objects):
    return batch.export(layout, name)


def collect(layout, settings, name, at):
    same = {"verdict": "new_class", "label": settings.answer, "annotator": "parrot", "answered_at": at}
    return [{**same, "image_id": image, "seconds": 1.0, "batch_id": name} for image in batch.asked(layout, name)]


def instructions(layout, settings, name):
    return ""


def audit(layout, settings, name):
    return None


def forget(layout, settings, image_ids, objects):
    """Nothing is kept outside of the workspace."""
'''

ANNOTATOR_SETTINGS = '''
class ParrotAnnotator(AnnotatorSpec):
    """One answer for every image."""

    name: Literal["parrot"] = "parrot"
    answer: str
'''

STAGE = '''
"""count: how many images of each split this generation has."""

import json
from collections import Counter

from oltr_core import schema
from oltr_core.spec import Spec


class Parameters(Spec):
    """This stage reads no section of params.yaml."""


def run(params, layout):
    splits = schema.read(layout.work.manifest, schema.MANIFEST, ["split"]).column("split").to_pylist()
    layout.work.split_counts.write_text(json.dumps(Counter(splits)))
'''

STAGE_ROW = """    Stage(
        "count",
        "Count the images of each split.",
        reads=("manifest.parquet",),
        writes=("split_counts.json",),
        run=(),
        measures=False,
    ),
"""

STAGE_FILE = """    split_counts = _At("split_counts.json")
"""

ADDITIONS: dict[str, dict[str, str | Edit]] = {
    "loss": {
        "oltr_core/losses/brier.py": LOSS,
        "oltr_core/losses/__init__.py": member("Loss", "Brier", "from oltr_core.losses.brier import Brier"),
        **default("cross_entropy", '"brier": {"weight": 1.0}'),
    },
    "sampler": {
        "oltr_core/samplers/cyclic.py": SAMPLER,
        "oltr_core/samplers/__init__.py": member("Sampler", "Cyclic", "from oltr_core.samplers.cyclic import Cyclic"),
        **default("instance", '"cyclic": {}'),
    },
    "score": {
        "oltr_core/scores/logit_gap.py": SCORE,
        "oltr_core/scores/__init__.py": member(
            "Score", "LogitGap", "from oltr_core.scores.logit_gap import LogitGap"
        ),
        **default("msp", '"logit_gap": {}'),
    },
    "score that needs the network": {
        "oltr_core/scores/darkened.py": NETWORK_SCORE,
        "oltr_core/scores/__init__.py": member("Score", "Darkened", "from oltr_core.scores.darkened import Darkened"),
        **default("max_logit", '"darkened": {}'),
    },
    "learner": {
        "oltr_core/learners/timid.py": LEARNER,
        "oltr_core/learners/__init__.py": member("Learner", "Timid", "from oltr_core.learners.timid import Timid"),
        **default("slda", '"timid": {}'),
    },
    "strategy": {
        "oltr_core/strategies/from_the_end.py": STRATEGY,
        "oltr_core/strategies/__init__.py": member(
            "Strategy", "FromTheEnd", "from oltr_core.strategies.from_the_end import FromTheEnd"
        ),
        **default("random", '"from_the_end": {}'),
    },
    "backbone": {
        "oltr_core/models/backbones/patches.py": BACKBONE,
        "oltr_core/models/backbones/__init__.py": member(
            "Backbone", "Patches", "from oltr_core.models.backbones.patches import Patches"
        ),
        **default("timm", '"patches": {"width": 8}'),
    },
    "head": {
        "oltr_core/models/heads/tempered.py": HEAD,
        "oltr_core/models/heads/__init__.py": member(
            "HeadSpec", "Tempered", "from oltr_core.models.heads.tempered import Tempered"
        ),
        **default("linear", '"tempered": {"temperature": 2.0}'),
    },
    "source": {
        "oltr_core/ingest/sources/noise.py": SOURCE,
        "oltr_core/ingest/sources/__init__.py": member(
            "Source", "Noise", "from oltr_core.ingest.sources.noise import Noise"
        ),
    },
    "metric": {
        "oltr_core/metrics/detection.py": before("def _accepted(", METRIC.lstrip() + "\n\n"),
        "oltr_core/metrics/recognition.py": before(
            '        "oscr": lambda',
            '        "balanced_error": '
            "lambda: detection.balanced_error(scores[~is_open], scores[is_open], threshold),\n",
        ),
    },
    "annotator": {
        "tasks/annotator/parrot.py": ANNOTATOR,
        "oltr_core/settings/annotator.py": member("Annotator", "ParrotAnnotator", ANNOTATOR_SETTINGS),
    },
    "stage": {
        "oltr_core/stages/count.py": STAGE,
        "oltr_core/pipeline.py": before(")  # fmt: skip\nSTAGES =", STAGE_ROW),
        "oltr_core/layout.py": before("\n\nclass Work(", STAGE_FILE),
    },
}
