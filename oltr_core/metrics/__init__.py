"""What is measured: tensors in, `Measured` out (finite numbers by name, and a reason for each that has none).

| group | function | asks |
|---|---|---|
| `closed/` | `recognition.closed` | does it tell the classes of generation 0 apart? |
| `now/` | `recognition.known_now` | does it tell all classes apart that it knows now? |
| `open/` | `recognition.open_set` | does it also reject what it does not know? |
| `loop/` | `continual.loop` | does it learn what it was taught, and keep what it knew? |
| `calibration/` | `calibration.calibration` | may its probabilities be believed? |

The shot groups `many medium few` are: in `closed/` and `open/`, classes of generation 0 by their training images at
generation 0; in `now/`, every class known now by the training images that it has now.
`Evaluation` holds the test images under one model and puts the groups together; `comparison` compares two models.
"""

from oltr_core.measured import Measured
from oltr_core.metrics.calibration import calibration
from oltr_core.metrics.continual import History, loop
from oltr_core.metrics.evaluation import Evaluation
from oltr_core.metrics.recognition import OPEN, closed, known_now, open_set

__all__ = ["OPEN", "Evaluation", "History", "Measured", "calibration", "closed", "known_now", "loop", "open_set"]
