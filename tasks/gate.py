"""The gate: which generation becomes champion.

It reads gate.json of the sealed generation, where champion and challenger stand side by side on the same images
(`oltr_core.stages.comparison`), and refuses a challenger for either of two reasons:

* *a figure fell*: the difference to the champion is below minus its tolerance, and either its 95 % interval lies
  wholly below zero, so that chance does not explain it, or it is more than three tolerances, whatever its interval;
* *it learned nothing*: of the images of the classes that the champion does not know, fewer than
  `min_learned_accuracy` were named rightly; or some were not, and the interval of that share reaches down to chance,
  1 / classes. Where no class was learned, nothing is asked.

A tolerance for `class/<name>` protects one class: `class/lynx: 0.1`. One for `slice/<attribute>/worst` protects the
group in which the challenger is worst, for an attribute of `evaluate.slices`; `slice/<attribute>/<value>` any one.

So in a small test set an interval may excuse a fall of up to three tolerances, and never stands for something
learned. What has no image to be judged on is written into the verdict as not compared. A tolerance for any other
metric compares metrics.json of the two sealed folders, without intervals; so do all tolerances where the champion
was moved by hand since the challenger was opened, and where version 0.1 sealed the challenger without gate.json.

A first generation is promoted without comparison, with a warning where it is useless.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from oltr_core import ledger
from oltr_core.layout import GENESIS, Layout
from oltr_core.ledger import Event
from oltr_core.measured import OF_CLASS, OF_SLICE, SMALLER, read_intervals
from oltr_core.settings.operations import METRIC_OF, Gate

NO_GROUP = "no group of this name with enough test images of classes that both know"
NO_CLASS = "no image of a class of this name that both know"
FAR = 3  # tolerances; a fall of more is refused whatever its interval


def fallen(compared: dict[str, Any], tolerances: dict[str, float]) -> list[str]:
    """One sentence per figure of gate.json that fell too far."""
    found = []
    for name, tolerance in sorted(tolerances.items()):
        of = compared["metrics"].get(name)
        if of is None or of["difference"] >= -tolerance:
            continue
        if of["high"] < 0 or of["difference"] < -FAR * tolerance:
            found.append(
                f"{name} fell from {of['champion']:.3f} to {of['challenger']:.3f}, by more than {tolerance:g} "
                f"(difference {of['difference']:+.3f}, 95 % interval {of['low']:+.3f} to {of['high']:+.3f}, "
                f"{of['images']} images)"
            )
    return found


def learned_too_little(compared: dict[str, Any], least: float) -> list[str]:
    """A sentence where the classes that the champion does not know were not learned."""
    of = compared["metrics"].get("learned_accuracy")
    if of is None or not least:
        return []
    share, chance = of["challenger"], 1 / compared["classes"]
    said = (
        f"learned_accuracy is {share:.3f} (95 % interval {of['low']:.3f} to {of['high']:.3f}, {of['images']} images)"
    )
    if share < least:
        return [f"{said}, less than {least:g}"]
    return [f"{said}, not above chance ({chance:.3f})"] if share < 1 and of["low"] <= chance else []


def fallen_metrics(
    challenger: dict[str, float], champion: dict[str, float], tolerances: dict[str, float], absent: dict[str, str]
) -> list[str]:
    """One sentence per metric of two metrics.json that became too much worse, or that is missing for no reason.

    What the champion does not have cannot have fallen, and what cannot be measured any more (`absent`: no unknown
    class is left, say) does not speak against the challenger.
    """
    found = []
    for name, tolerance in sorted(tolerances.items()):
        if name not in champion or name in absent:
            continue
        if name not in challenger:
            found.append(f"{name} was not measured; the champion's is {champion[name]:.4f}")
            continue
        sign, verb = (-1, "rose") if name.rpartition("/")[2] in SMALLER else (1, "fell")
        if sign * (champion[name] - challenger[name]) > tolerance:
            found.append(
                f"{name} {verb} from {champion[name]:.4f} to {challenger[name]:.4f}, by more than {tolerance:g}"
            )
    return found


def judge(layout: Layout, gate: Gate, name: str, at: str) -> tuple[str, list[str]]:
    """Promote or refuse the sealed generation `name` against the champion, and write the verdict down.

    Returns ("promoted" | "refused", reasons). A verdict that stands is returned as it is.
    """
    events = ledger.read(layout.ledger)
    state = ledger.replay(events)
    if name in state.verdicts:
        verdicts = ("promoted", "refused", "rolled_back")  # the last by a person, before it was judged
        stands = next(e for e in events if e.generation == name and e.event in verdicts)
        return state.verdicts[name], stands.details.get("reasons", [])
    if name not in state.sealed:
        raise ValueError(f"{layout.ledger}: generation {name} is not sealed, so it cannot be judged; run `oltr loop`")
    reasons, grounds = weigh(layout, gate, name, state.champion)
    verdict = "refused" if reasons else "promoted"
    details = {"against": state.champion, "reasons": reasons, **grounds}
    ledger.append(layout.ledger, Event(verdict, name, state.sealed[name], at, details))
    return verdict, reasons


def weigh(layout: Layout, gate: Gate, name: str, champion: str) -> tuple[list[str], dict[str, Any]]:
    """The reasons to refuse `name`, and what they are based on: the comparison, and what could not be compared."""
    sealed = layout.generation(name)
    if champion == GENESIS:
        return [], {
            "not_compared": {},
            "warnings": warnings(_metrics(layout, name), read_intervals(sealed.intervals)),
        }
    figures = {metric: figure for figure, metric in METRIC_OF.items()}
    tolerances = {figures.get(given, given): far for given, far in gate.tolerances.items()}  # by either name
    reasons: list[str] = []
    grounds: dict[str, Any] = {"not_compared": {}}
    if sealed.gate.exists():
        compared = json.loads(sealed.gate.read_text())
        reasons += learned_too_little(compared, gate.min_learned_accuracy)
        if compared["champion"] == champion:
            grounds = {"comparison": compared, "not_compared": dict(compared["absent"])}
            reasons += fallen(compared, tolerances)
            tolerances = {
                n: far for n, far in tolerances.items() if n not in {**compared["metrics"], **compared["absent"]}
            }
    tolerances = {METRIC_OF.get(n, n): far for n, far in tolerances.items()}
    absent, before = json.loads(sealed.metrics_absent.read_text()), _metrics(layout, champion)
    grounds["not_compared"] |= {n: absent[n] for n in sorted(tolerances) if n in absent and n in before}
    grounds["not_compared"] |= {n: NO_CLASS for n in sorted(tolerances) if n.startswith(OF_CLASS)}
    no_group = {n for n in tolerances if n.startswith(OF_SLICE) and n not in {*absent, *before}}
    grounds["not_compared"] |= dict.fromkeys(sorted(no_group), NO_GROUP)
    return reasons + fallen_metrics(_metrics(layout, name), before, tolerances, absent), grounds


def warnings(metrics: Mapping[str, float], intervals: Mapping[str, tuple[float, float]]) -> list[str]:
    """A sentence each for what makes a first generation useless, which is promoted all the same."""
    found, chance = [], 1 / max(1.0, metrics.get("data/classes", 1.0))
    share = metrics.get("closed/overall", 1.0)
    low, high = intervals.get("closed/overall", (share, share))
    if share < 1 and low <= chance < 1:
        found.append(
            f"closed/overall is {share:.3f} (95 % interval {low:.3f} to {high:.3f}), not above chance "
            f"({chance:.3f}); train longer, or bring more labelled images"
        )
    if metrics.get("open/known_accuracy") == 0:
        found.append(
            "no known test image is accepted and named rightly (open/known_accuracy is 0); "
            "`oltr threshold` says what other thresholds would do"
        )
    return found


def move(layout: Layout, name: str, event: str, reason: str, by: str, at: str) -> None:
    """Let the person `by` move the champion to the sealed generation `name`; `event` is promoted or rolled_back.

    Raises ValueError when the generation is not sealed, was edited since, or is the champion already.
    """
    state = ledger.state_of(layout.ledger)
    if name not in state.sealed:
        known = ", ".join(state.sealed) or "none"
        raise ValueError(f"{name}: expected a sealed generation (there are: {known}); see `oltr generations`")
    if name == state.champion:
        raise ValueError(f"{name} is the champion already; nothing to do")
    ledger.verify_sealed(layout.ledger, layout.generation(name).folder)
    # the same move may be made twice in a history: its time is part of its identity
    identity = f"{state.sealed[name]}@{at}"
    details = {"against": state.champion, "reasons": [reason], "by": by}
    ledger.append(layout.ledger, Event(event, name, identity, at, details))


def _metrics(layout: Layout, name: str) -> dict[str, float]:
    return json.loads(layout.generation(name).metrics.read_text())
