"""RIDE's router (Wang et al., ICLR 2021, Sec. 3.3): how many experts look at an image, learned last."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, normalize

from oltr_core.benchmark.cell import Method, predict
from oltr_core.benchmark.data import BenchmarkData
from oltr_core.interfaces import Outputs
from oltr_core.metrics import closed
from oltr_core.models import Network
from oltr_core.seeding import default_torch_generator, torch_generator
from oltr_core.shapes import Bool, Float, Int
from oltr_core.spec import Spec


class Router(Spec):
    """For expert e of E but the last: u_e = w (relu(H_e v_e / ||v_e||), largest `top` of mean z_1..e) + b.

    The next expert is asked where u_e > 0. Trained with the binary cross-entropy of "the first e experts are wrong
    and some more would be right", in which such images weigh `positive` times as much; batches balance the classes.
    Values are the authors' for CIFAR-100, steps their five epochs of CIFAR-100-LT; departs from their code: images
    are not augmented, so that outputs are computed once.
    """

    hidden: Annotated[int, Field(ge=1)] = 16
    top: Annotated[int, Field(ge=1)] = 30
    positive: Annotated[float, Field(gt=0)] = 100.0
    steps: Annotated[int, Field(ge=1)] = 105
    batch_size: Annotated[int, Field(ge=1)] = 512
    learning_rate: Annotated[float, Field(gt=0)] = 0.01  # falling to zero along a cosine

    def fit(self, outputs: Outputs, labels: Int[Tensor, "B"], seed: int) -> "Routing":
        """The router of a network's outputs for its training images."""
        with default_torch_generator(seed, "router"):
            routing = Routing(self, outputs)
        generator, wanted = torch_generator(seed, "router", "batches"), helped(outputs, labels).float()
        optimizer = torch.optim.SGD(routing.parameters(), self.learning_rate, 0.9, weight_decay=5e-4, nesterov=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        weight, share = torch.tensor(self.positive), 1 / labels.bincount()[labels]
        for _ in range(self.steps):
            rows = torch.multinomial(share, self.batch_size, replacement=True, generator=generator)
            optimizer.zero_grad()
            binary_cross_entropy_with_logits(routing(outputs[rows]), wanted[rows], pos_weight=weight).backward()
            optimizer.step()
            schedule.step()
        return routing.requires_grad_(False)


class Routing(nn.Module):
    """The weights of a `Router`; u_e of every expert but the last from `Outputs`."""

    def __init__(self, spec: Router, outputs: Outputs) -> None:
        super().__init__()
        _, experts, classes = outputs.logits.shape
        self.top = min(spec.top, classes)
        dim = outputs.features.shape[2]
        self.hidden = nn.ModuleList(nn.Linear(dim, spec.hidden) for _ in range(experts - 1))
        self.last = nn.Linear(spec.hidden + self.top, 1)

    def forward(self, outputs: Outputs) -> Float[Tensor, "B E1"]:
        features, logits = normalize(outputs.features, dim=2), means_of_first(outputs)
        parts = [
            self.last(torch.cat([hidden(features[:, e]).relu(), logits[:, e].topk(self.top).values], 1))
            for e, hidden in enumerate(self.hidden)
        ]
        return torch.cat(parts, 1)


def means_of_first(outputs: Outputs) -> Float[Tensor, "B E K"]:
    """The mean logits of the first 1, 2, ... E experts."""
    return outputs.logits.cumsum(1) / torch.arange(1, 1 + outputs.logits.shape[1])[:, None]


def helped(outputs: Outputs, labels: Int[Tensor, "B"]) -> Bool[Tensor, "B E1"]:
    """Whether the first e experts are wrong where some more together are right."""
    right = means_of_first(outputs).argmax(2) == labels[:, None]
    later = right.flip(1).cummax(1).values.flip(1)
    return ~right[:, :-1] & later[:, 1:]


def routed(outputs: Outputs, more: Float[Tensor, "B E1"]) -> tuple[Float[Tensor, "B K"], Int[Tensor, "B"]]:
    """The mean logits of the experts that an image was shown to, and how many they are."""
    used = 1 + (more > 0).long().cumprod(1).sum(1)
    return means_of_first(outputs)[torch.arange(len(used)), used - 1], used


class Routed(Method):
    """A row of several experts, measured with a router too."""

    router: Router = Router()

    def beside(self, network: Network, data: BenchmarkData) -> dict[str, float]:
        """`with the router/`: accuracies, and the share of the experts that are asked."""
        trained, tested = (predict(network, images, self.train) for images in (data.train, data.test))
        routing = self.router.fit(trained, data.train_labels, self.train.seed)
        logits, used = routed(tested, routing(tested))
        shots = torch.bincount(data.train_labels, minlength=logits.shape[1]).float()
        found = closed(logits, data.test_labels, shots).with_prefix("with the router").values
        names = {f"with the router/{name}" for name in ("overall", "many", "medium", "few")}
        share = float(used.double().mean()) / tested.logits.shape[1]
        return {n: v for n, v in found.items() if n in names} | {"with the router/experts asked": share}
