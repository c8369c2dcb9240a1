"""The training loop: follows a recipe phase by phase and yields one report per epoch.

On one kind of CPU the weights depend on the recipe, its seed, the images and the number of threads alone; a run that
was killed and continues from its saved state ends with the same weights as one that was not. Another kind of CPU sums
in another order, and after some epochs its weights are as far away as those of another seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from oltr_core.devices import multiplies_bfloat16, onto, resolve
from oltr_core.images.dataset import Images, Resident, in_order
from oltr_core.interfaces import Context, Progress, Targets
from oltr_core.models import Network
from oltr_core.seeding import torch_generator
from oltr_core.settings.compute import Compute
from oltr_core.training import parallel, resume
from oltr_core.training.freezing import optimizer_for, set_training_mode
from oltr_core.training.recipe import Phase, Train
from oltr_core.training.step import Stepper

Report = dict[str, float | int | str]  # one line of metrics.jsonl
DEFAULT = Compute()
DIVERGED = 1e4  # a loss beyond this will not come back
AT_ONCE = 8192  # images that a GPU augments at once: a batch of 128 costs it as many launches and as much time


class Diverged(ValueError):
    """The loss is no longer a number, or far beyond any that comes back."""


def fit(
    network: Network,
    images: Images,
    labels: Tensor,
    train: Train,
    compute: Compute = DEFAULT,
    state: Path | None = None,
) -> Iterator[Report]:
    """Train `network` in place on `images` with class columns `labels` [N]; yields a report per epoch.

    With a folder `state`, the training is saved there every `compute.save_every` epochs, and continued from there;
    the reports of the epochs before are yielded again, so that the log of a continued run is whole.
    Raises ValueError when the device is absent, and Diverged, which is one, when the loss is no longer a number.
    """
    device = parallel.start(resolve(compute.device))
    network.to(device)
    parallel.normalise_globally(network)
    safe = device.type != "cpu" or not _narrow(network)
    if compute.channels_last and safe:
        network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    bfloat16 = train.precision == "bfloat16" and multiplies_bfloat16(device)
    stepper = Stepper(network, device, bfloat16, compiled=compute.compile and safe)
    labels = labels.cpu()
    saved = resume.place_in(state)
    reports = list(saved.reports) if saved else []
    yield from reports
    for number, phase in enumerate(train.phases):
        head = phase.head or train.network.head
        if phase.fresh_head or network.spec.head != head:
            network.replace_heads(head, train.seed, phase.fresh_head)
        if saved and number < saved.phase:
            continue  # done before the run was killed
        optimizer = optimizer_for(network, phase, fused=device.type == "cuda")
        first = 0
        if state is not None and saved and number == saved.phase:
            resume.restore(state, network, optimizer)
            first, stepper.pieces = saved.epoch, saved.pieces
        else:
            refresh_memory(network, images, labels, train)
            if network.builds_heads:
                network.build_heads(direct_features(network, images, train), labels, train.seed)
        for epoch in range(first, phase.epochs):
            progress = Progress(epoch, phase.epochs)
            report = _epoch(stepper, phase, optimizer, images, labels, train, progress)
            reports.append(report)
            last = epoch + 1 == phase.epochs
            if last or (phase.refresh_every and (epoch + 1) % phase.refresh_every == 0):
                refresh_memory(network, images, labels, train)
            parallel.align(network)
            if state is not None and parallel.rank() == 0 and (last or (epoch + 1) % compute.save_every == 0):
                resume.save(state, network, optimizer, resume.Place(number, epoch + 1, stepper.pieces, reports))
            yield report
    network.eval()


def _narrow(network: Network) -> bool:
    """Whether channels_last, which torch.compile chooses too, would corrupt memory on a CPU.

    oneDNN 3.13 (torch 2.15) writes beyond its buffers in the weight gradient of a strided 1 x 1 convolution of fewer
    than 8 channels, on processors without AVX-512.
    """
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    return any(c.kernel_size == (1, 1) and c.stride != (1, 1) and c.in_channels < 8 for c in convolutions)


def direct_features(network: Network, images: Images, train: Train, batch_size: int = 256) -> Tensor:
    """Direct features [N, E, D] of every image, in evaluation mode, without augmentation; shared out over ranks."""
    network.eval()
    steps = in_order(len(images), batch_size)
    rounds = [steps[i : i + parallel.size()] for i in range(0, len(steps), parallel.size())]
    # in the last round a rank without a batch of its own does the first again, and every batch is brought to size
    mine = [group[min(parallel.rank(), len(group) - 1)] for group in rounds]
    parts = []
    with torch.no_grad():
        for batch in images.batches(mine):
            features = network.features(train.transform(batch))
            if parallel.size() > 1:
                features = torch.nn.functional.pad(features, (0, 0, 0, 0, 0, batch_size - len(features)))
            parts.append(parallel.gather(features))
    return torch.cat(parts)[: len(images)]


def refresh_memory(network: Network, images: Images, labels: Tensor, train: Train) -> None:
    """Class means of the whole training set into the memory, where the network has one."""
    if network.memory(0) is not None:
        features = direct_features(network, images, train)
        network.refresh(features, labels.to(features.device))


def _epoch(
    stepper: Stepper,
    phase: Phase,
    optimizer: torch.optim.Optimizer,
    images: Images,
    labels: Tensor,
    train: Train,
    progress: Progress,
) -> Report:
    """One epoch; its report holds means over the epoch's steps. The device is waited for once, at the end."""
    seed, names, device = train.seed, (phase.name, progress.epoch), stepper.device
    order = phase.sampler(labels, progress, torch_generator(seed, "sampler", *names))
    size = phase.batch_size
    steps = max(1, order.shape[1] // size)  # what is left over would be a batch of its own, too small for statistics
    indices = [parallel.share(order[:, i * size : (i + 1) * size]).flatten() for i in range(steps)]
    mine = (parallel.rank(),) if parallel.rank() else ()
    generator = torch_generator(seed, "augment", *names, *mine)
    class_counts = torch.bincount(labels, minlength=stepper.network.num_classes).float().to(device)
    context = Context(class_counts, progress, generator)
    set_training_mode(stepper.network, phase.freeze)
    sums: dict[str, Tensor] = {}
    cut_seed = int(torch.randint(2**31, (), generator=torch_generator(seed, "cut", *names, *mine)))
    wanted = onto(labels[torch.cat(indices)], device).split(len(indices[0]))
    batches = _augmented(images, indices, train, generator, cut_seed)
    for step, (pixels, chosen) in enumerate(zip(batches, wanted, strict=True)):
        multiplier = phase.schedule((progress.epoch + step / steps) / phase.epochs, 1 / (steps * phase.epochs))
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * multiplier
        targets = Targets(chosen)
        if phase.mix is not None and progress.fraction < phase.mix.until:
            pixels, targets = phase.mix(pixels, targets, stepper.network.num_classes, len(order), generator)
        for name, value in stepper(phase, optimizer, pixels, targets, context, streams=len(order)).items():
            sums[name] = sums[name] + value if name in sums else value.clone()
    parallel.average(sums.values())
    means = {name: float(total) / steps for name, total in sums.items()}
    _refuse_divergence(means["loss"], phase, progress)
    learning_rate = phase.learning_rates.trunk * phase.schedule((progress.epoch + 1) / phase.epochs, 0)
    return {"phase": phase.name, "epoch": progress.epoch, "steps": steps, "learning_rate": learning_rate, **means}


def _augmented(
    images: Images, indices: list[Tensor], train: Train, generator: torch.Generator, cut_seed: int
) -> Iterator[Tensor]:
    """The pixels of each step, as the network sees them."""
    size = len(indices[0])
    on_gpu = isinstance(images, Resident) and images.images.device.type == "cuda"
    steps = max(1, AT_ONCE // size) if on_gpu else 1
    groups = [torch.cat(indices[i : i + steps]) for i in range(0, len(indices), steps)]
    for batch in images.batches(groups, cut_seed):
        yield from train.transform(train.augment(batch, generator)).split(size)


def _refuse_divergence(loss: float, phase: Phase, progress: Progress) -> None:
    if not math.isfinite(loss) or loss > DIVERGED:
        raise Diverged(
            f"train: the loss of phase {phase.name!r} is {loss:.4g} in epoch {progress.epoch}; lower its "
            f"learning_rates in params.yaml (trunk {phase.learning_rates.trunk}, heads {phase.learning_rates.heads}) "
            "or give its schedule a warmup"
        )
