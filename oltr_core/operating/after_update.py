"""Which scores, and strategies of the same name, tell no unknown images after an update, by the learner that made it.

| learner | not | because |
|---|---|---|
| `slda` | `energy`, `max_logit`, `prior_aware` with the base `energy` | z_k = m_k' P x - m_k' P m_k / 2 lacks \
-x' P x / 2, common to all classes: softmax does not see it, the largest logit and logsumexp do |
| all but `ridge` | `openmax` | more known validation images than the threshold may reject have the largest score \
there is, 1, so that nothing lies beyond it |

Measured on test images of the digits after one update, of the default training with three numbers of epochs: AUROC of
`energy` .42 to .55 and unknown recall .00 to .02 (before: .94 to .98, .65 to .73), of `entropy` .92 to .97 and .58 to
.80; the strategy `energy` picked 13 to 18 % unknown images where chance picks 27. Unknown recall of `openmax`: .00
after most, .02 to .32 after `lwf` and `acl` (.00 on smaller networks), .15 to .72 after `ridge`.
After a full training they work again.
"""

from __future__ import annotations

from oltr_core.spec import Spec

LEARNER = "slda"  # where `update` names none
WITHOUT_COMMON_TERM = "whose logits lack the term common to all classes"
AT_ITS_LARGEST = "for its threshold is then the largest score there is"


def void(of: Spec, learner: str) -> str:
    """What is wrong with the learner of this name for a score or strategy, to end a sentence; empty: nothing."""
    name = getattr(of, "name", "")
    if learner == "slda" and name in ("energy", "max_logit"):
        return WITHOUT_COMMON_TERM
    if learner == "slda" and name == "prior_aware" and getattr(of, "base", "") == "energy":
        return f"{WITHOUT_COMMON_TERM} (with base: msp it does)"
    return AT_ITS_LARGEST if name == "openmax" and learner != "ridge" else ""
