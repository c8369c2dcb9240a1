"""Few-shot learning without forgetting (Gidaris and Komodakis, CVPR 2018): weights of rare classes by attention."""

from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import nn

from oltr_core.models.heads.cosine import Cosine, CosineHead
from oltr_core.shapes import Bool, Float, Int, Tensor
from oltr_core.spec import Spec

_normalize = nn.functional.normalize


class WeightGenerator(Spec):
    """w' = φ_avg ∘ mean_i u_i + φ_att ∘ mean_i Σ_b softmax_b(γ cos(Q u_i, k_b)) ŵ_b, logits s cos(w, x).

    u_i are the unit features of a class's images, ŵ_b the unit weights and k_b the keys of the base classes. An
    episode plays that some base classes were new: they leave rows and keys, their weights come from `shots` images,
    and images of both sides are to be told apart. Classes of `few` images or fewer are the new ones in the end. For
    a phase of no epochs: `build` makes the head from the features of the training images.
    Departs from the source: base weights begin from the classifier that the head replaces, and episodes are a tenth
    of the 480,000 of mini-ImageNet, whose other settings these are.
    """

    name: Literal["weight_generator"] = "weight_generator"
    few: Annotated[int, Field(ge=1)] = 20  # as in "few": images up to which a class's weights are generated
    novel: Annotated[int, Field(ge=1)] = 5  # classes of an episode that are played to be new
    shots: Annotated[int, Field(ge=1)] = 5  # images of each to generate from
    queries: Annotated[int, Field(ge=1)] = 15  # images to classify, of those and as many of the other base classes
    episodes: Annotated[int, Field(ge=1)] = 8  # in a step
    steps: Annotated[int, Field(ge=1)] = 6000
    learning_rate: Annotated[float, Field(gt=0)] = 0.1
    scale: float = 10.0  # s at first; it is learned
    attention_scale: float = 10.0  # γ at first; it is learned

    def __call__(self, num_classes: int, num_features: int) -> "WeightGeneratorHead":
        return WeightGeneratorHead(self, num_classes, num_features)


class Generator(nn.Module):
    """What the episodes train: base weights and their keys, Q, φ_avg, φ_att, and both scales."""

    def __init__(self, spec: WeightGenerator, base: Float[Tensor, "K D"]) -> None:
        super().__init__()
        size = base.shape[1]
        self.base = nn.Parameter(_normalize(base, dim=1))
        self.keys = nn.Parameter(torch.randn(base.shape) * (2 / size) ** 0.5)
        self.query = nn.Linear(size, size)
        self.query.weight.data = torch.eye(size) + 0.001 * torch.randn(size, size)
        nn.init.zeros_(self.query.bias)
        self.average, self.attention = nn.Parameter(torch.ones(size)), nn.Parameter(torch.ones(size))
        self.scale, self.attention_scale = (nn.Parameter(torch.tensor(s)) for s in (spec.scale, spec.attention_scale))

    def generate(self, features: Float[Tensor, "J M D"], keyed: Bool[Tensor, "J K"]) -> Float[Tensor, "J D"]:
        """Weights of J classes from M features each; `keyed` are the base classes that each may attend to."""
        u = _normalize(features, dim=2)
        scores = self.attention_scale * _normalize(self.query(u), dim=2) @ _normalize(self.keys, dim=1).T
        attended = scores.masked_fill(~keyed[:, None], -torch.inf).softmax(2) @ _normalize(self.base, dim=1)
        return self.average * u.mean(1) + self.attention * attended.mean(1)

    def loss(self, drawn: "Episodes", features: Float[Tensor, "N D"]) -> Float[Tensor, ""]:
        """Mean cross-entropy of the queries among all base classes, those played to be new with generated weights."""
        num_episodes, novel = drawn.played.shape
        keyed = torch.ones(num_episodes, len(self.base), dtype=torch.bool).scatter(1, drawn.played, False)
        made = self.generate(features[drawn.shown].flatten(0, 1), keyed.repeat_interleave(novel, 0))
        rows = drawn.played[:, :, None].expand(-1, -1, made.shape[1])
        weight = self.base.expand(num_episodes, -1, -1).scatter(1, rows, made.unflatten(0, (num_episodes, novel)))
        cosines = _normalize(features[drawn.queries], dim=2) @ _normalize(weight, dim=2).mT
        return nn.functional.cross_entropy(self.scale * cosines.flatten(0, 1), drawn.labels.flatten())


class Episodes(NamedTuple):
    """Episodes as base classes 0 ... K-1 and rows of their features."""

    played: Int[Tensor, "E J"]  # classes that are played to be new
    shown: Int[Tensor, "E J S"]  # rows to generate from
    queries: Int[Tensor, "E Q"]  # other rows, of the played classes and of those that are not
    labels: Int[Tensor, "E Q"]


def draw(counts: list[int], spec: WeightGenerator, generator: torch.Generator) -> Episodes:
    """Episodes of base classes with so many images each, whose rows follow one another."""
    number, novel = torch.tensor(counts), min(spec.novel, len(counts) - 1)
    first = number.cumsum(0) - number
    order = torch.rand(spec.episodes, len(counts), generator=generator).argsort(1)
    played, others = order[:, :novel], order[:, novel:]
    each = -(-spec.queries // novel)
    chance = torch.rand(spec.episodes, novel, max(counts), generator=generator)
    beyond = torch.arange(max(counts)) >= number[played][:, :, None]
    rows = first[played][:, :, None] + chance.masked_fill(beyond, 2).argsort(2)[:, :, : spec.shots + each]
    base = others.gather(1, torch.randint(others.shape[1], (spec.episodes, spec.queries), generator=generator))
    of_base = first[base] + (torch.rand(base.shape, generator=generator) * number[base]).long()
    queries = torch.cat([rows[:, :, spec.shots :].flatten(1), of_base], 1)
    labels = torch.cat([played.repeat_interleave(each, 1), base], 1)
    return Episodes(played, rows[:, :, : spec.shots], queries, labels)


class WeightGeneratorHead(CosineHead):
    """The weights of `WeightGenerator`: a cosine classifier, once the rare classes have theirs."""

    def __init__(self, spec: WeightGenerator, num_classes: int, num_features: int) -> None:
        super().__init__(Cosine(scale=spec.scale), num_classes, num_features)
        self.spec = spec

    def build(self, features: Float[Tensor, "N D"], labels: Int[Tensor, "N"], generator: torch.Generator) -> None:
        """Train the generator by episodes of base classes, and generate the rows of the others."""
        spec, counts = self.spec, torch.bincount(labels, minlength=len(self.weight))
        least = max(spec.few + 1, spec.shots + spec.queries)
        is_base = counts >= least
        base = is_base.nonzero()[:, 0]
        if len(base) < 2:
            raise ValueError(
                f"weight_generator needs two classes of {least} images (few: {spec.few}; shots: {spec.shots} and "
                f"queries: {spec.queries}), found {len(base)}"
            )
        of_base = torch.cat([features[labels == k] for k in base])
        model = Generator(spec, self.weight.data[base])
        optimizer = torch.optim.SGD(
            model.parameters(), spec.learning_rate, momentum=0.9, weight_decay=5e-4, nesterov=True
        )
        for step in range(spec.steps):
            optimizer.param_groups[0]["lr"] = spec.learning_rate * factor(step / spec.steps)
            optimizer.zero_grad()
            model.loss(draw(counts[base].tolist(), spec, generator), of_base).backward()
            optimizer.step()
        with torch.no_grad():
            self.weight[base] = model.base
            for k in ((counts > 0) & ~is_base).nonzero()[:, 0].tolist():
                self.weight[k] = model.generate(features[labels == k][None], torch.ones(1, len(base)).bool())[0]
            self.scale.copy_(model.scale)


def factor(fraction: float) -> float:
    """Of the learning rate at `fraction` of the steps: as in the source, for mini-ImageNet."""
    return next(
        value for until, value in ((1 / 3, 1.0), (2 / 3, 0.06), (5 / 6, 0.012), (2, 0.0024)) if fraction < until
    )
