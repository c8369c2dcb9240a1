"""Settings against images: what would stop the loop, and what it would do badly, one sentence each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from statistics import median

from oltr_core import ledger
from oltr_core.curation.text_values import folded
from oltr_core.layout import Layout
from oltr_core.measured import counted
from oltr_core.models.backbones import Timm
from oltr_core.operating import parent as of_parent
from oltr_core.operating.rejection import BY_UNKNOWN, can_reject
from oltr_core.params import Params
from oltr_core.preflight.images import Expected, Seen
from oltr_core.shots import GROUPS, shot
from oltr_core.spec import suggest

FEW = 5  # training images below which little can be learned of a class
FEW_TESTS = 20  # open test images below which a recall moves by more than five points with each
SHOWN = 6  # classes named one by one
TOO_COARSE, TOO_FINE = 2.0, 2.5  # of the images' shorter side over the network's, and the other way round
HOW_TO_MEASURE_OPENNESS = (
    "no test image is of an unknown class, so open/* (auroc, unknown recall) and what the loop finds stay "
    "unmeasured: add a source with `role: test` that holds classes which nothing else labels, or let "
    "curate.hold_out_classes make some of yours unknown"
)


def summary(seen: Seen, plan: Expected, params: Params) -> str:
    """One line: how many images, of which classes, of which size."""
    where = "" if seen.where == "ingested" else f" in {seen.where}"
    if seen.left_out:
        found = f"{counted(seen.number, 'images')}{where} so far"
        return f"{found}; {'; '.join(seen.left_out)}: `oltr ingest`, then check again"
    groups = Counter(shot(number) for number in plan.train.values())
    shots = ", ".join(f"{groups[group]} {group}" for group in GROUPS if groups[group])
    line = (
        f"{counted(seen.number, 'images')}{where}: {counted(len(plan.train), 'classes to train')}"
        f"{f' ({shots}-shot)' if shots else ''}, "
        f"{sum(plan.train.values()):,} images of them, {plan.val:,} for validation, "
        f"{plan.open_test:,} test images of unknown classes, {plan.pool:,} in the pool"
    )
    if seen.sides:
        widths, heights = zip(*seen.sides, strict=True)
        line += f"; {_range(widths)} x {_range(heights)} pixels, and the network sees {params.train.transform.size}"
    return line


def _range(sides: tuple[int, ...]) -> str:
    low, high = min(sides), max(sides)
    return str(low) if low == high else f"{low} to {high} (median {median(sides):.0f})"


def about_champion(params: Params, layout: Layout) -> Iterator[str]:
    """What stops an update of the champion; nothing where there is none, or where a full training comes next."""
    state = ledger.state_of(layout.ledger)
    parent = layout.generation(state.champion)
    if parent.model.exists() and not params.schedule.is_due(state.next_number):
        yield from of_parent.refusals(params.update, parent)


def refusals(seen: Seen, plan: Expected, params: Params) -> Iterator[str]:
    """What stops the loop in its first generation."""
    curate, sources = params.curate, [s.get("name") for batch in params.sources for s in batch.sources]
    if plan.held and not plan.train:
        yield (
            f"curate.hold_out_classes holds out every class that has labels ({plan.held}), so that none is left to "
            "train on: hold out fewer"
        )
        return
    if not plan.train:
        yield "no image has a label to train on: give a source a folder per class, or a table with labels"
        return
    if len(plan.train) == 1:
        yield f"all labelled images are of one class ({next(iter(plan.train))}), and training needs two or more"
    small = {name: number for name, number in plan.train.items() if number < curate.min_train_per_class}
    if small:
        yield (
            f"{_classes(small)} would have fewer than {curate.min_train_per_class} training images, which curate "
            "refuses: add images, leave the class out, or lower curate.min_train_per_class"
        )
    if not plan.val:
        yield "no image is left for validation, which sets the threshold: raise curate.val_share or add a `role: val`"
    if params.update.threshold_by in BY_UNKNOWN and not plan.open_val:
        yield (
            f"update.threshold_by: {params.update.threshold_by} needs validation images of classes that nothing "
            "trains on, and there is none: add a source with `role: val` of such classes and set "
            "curate.unknown_validation, or take known_kept"
        )
    for name in params.evaluate.slices:
        if name not in seen.attributes:
            yield f"evaluate.slices: no image to evaluate has an attribute {name!r}{suggest(name, seen.attributes)}"
    if params.annotator.name == "truth" and "unlabelled" in sources:
        yield "the annotator `truth` cannot name images that came without a label: take `annotator: {name: folder}`"


def advice(seen: Seen, plan: Expected, params: Params) -> Iterator[str]:
    """What goes on, but not as well as it could."""
    yield from _about_sides(seen, params)
    yield from _about_weights(params)
    yield from _about_names(seen)
    few = {name: number for name, number in plan.train.items() if number < FEW}
    if few:
        yield f"{_classes(few)} would have fewer than {FEW} training images: expect little of them"
    images = sum(plan.train.values())
    for phase in params.train.phases:
        if phase.batch_size > images > 0:
            less = f"more than the {images} to train on: lower its batch_size"
            yield f"phase {phase.name!r} steps on {phase.batch_size} images at once, {less}"
    if not can_reject(params.update.threshold_by, len(plan.train)):
        yield (
            f"update.threshold_by: paper rejects an image whose largest probability is below 0.1, and with "
            f"{len(plan.train)} classes that is never so: take known_kept"
        )
    if not plan.pool:
        yield "there is no pool, so people are asked about nothing: add a source {name: unlabelled, path: ...}"
    if not plan.open_test:
        yield HOW_TO_MEASURE_OPENNESS
    elif plan.open_test < FEW_TESTS:
        tests = counted(plan.open_test, "images to test on")
        yield f"unknown classes have only {tests}: open/* figures say little; hold out more"
    held = params.curate.hold_out_classes
    if (held if isinstance(held, int) else len(held)) == 1:
        yield "curate.hold_out_classes is one class, which is open only until people have named it: hold out several"


def about_arrivals(arrived: dict[str, list[str]]) -> Iterator[str]:
    """What came into the sources of a batch that is in, which nothing will take in."""
    for batch, addresses in arrived.items():
        yield (
            f"{batch} is ingested and never changes: {counted(len(addresses), 'images')} that came into its sources "
            f"since, such as {addresses[0]}, will not be taken in; write another batch with these sources below it, "
            "which passes over what is in"
        )


def _about_sides(seen: Seen, params: Params) -> Iterator[str]:
    if not seen.sides:
        return
    size = params.train.transform.size
    width, height = (median(sides) for sides in zip(*seen.sides, strict=True))
    shorter = median(min(pair) for pair in seen.sides)
    found = f"your images are {width:.0f} x {height:.0f} pixels (median), and the network sees {size} x {size}"
    if shorter > TOO_COARSE * size:
        yield (
            f"{found}: what is smaller than {shorter / size:.0f} of their pixels is lost; raise train.transform.size "
            "(a training then takes longer, with its square), with a network for it: `oltr init --like` has some"
        )
    if size > TOO_FINE * shorter:
        yield f"{found}: enlarging costs time and shows no more; lower train.transform.size to about {shorter:.0f}"


def _about_weights(params: Params) -> Iterator[str]:
    backbone = params.train.network.backbone
    if not isinstance(backbone, Timm) or backbone.pretrained or backbone.weights:
        return
    frozen = [p.name for p in params.train.phases if {"trunk", "shared"} & set(p.freeze)]
    why = f" and phase {frozen[0]!r} freezes them:" if frozen else ": with fewer than some ten thousand images,"
    yield (
        f"{backbone.model} of timm begins with random weights{why} name a file of its published weights as "
        "train.network.backbone.weights, or set its `pretrained`"
    )


def _about_names(seen: Seen) -> Iterator[str]:
    alike: dict[str, set[str]] = defaultdict(set)
    for name in sorted({name for classes in seen.labelled.values() for name in classes}):
        alike[folded(name)].add(name)
    pairs = [" and ".join(map(repr, sorted(names))) for names in alike.values() if len(names) > 1]
    if pairs:
        more = f" (and {len(pairs) - 1} more such pairs)" if len(pairs) > 1 else ""
        yield (
            f"{pairs[0]} differ in capitals or blanks alone and are different classes{more}: give them one name in "
            "the source, or merge them with `oltr classes merge`"
        )


def _classes(numbers: dict[str, int]) -> str:
    shown = ", ".join(f"{name} ({number})" for name, number in list(numbers.items())[:SHOWN])
    more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
    return f"{counted(len(numbers), 'classes')}, {shown}{more},"
