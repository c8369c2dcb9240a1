"""What is measured: tensors in, `Measured` out (finite numbers by name, and a reason for each that has none).

| group | function | asks |
|---|---|---|
| `closed/` | `recognition.closed` | does it tell the classes of generation 0 apart? |
| `open/` | `recognition.open_set` | does it also turn away what it does not know? |
| `loop/` | `continual.loop` | does it learn what it was taught, and keep what it knew? |
| `calibration/` | `calibration.calibration` | may its probabilities be believed? |

`Evaluation` holds the test images under one model and puts the groups together.
"""

from oltr_core.measured import Measured
from oltr_core.metrics.calibration import calibration
from oltr_core.metrics.continual import History, loop
from oltr_core.metrics.evaluation import Evaluation
from oltr_core.metrics.recognition import OPEN, closed, open_set

__all__ = ["OPEN", "Evaluation", "History", "Measured", "calibration", "closed", "loop", "open_set"]
