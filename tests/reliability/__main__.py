"""Write the table of docs/reliability.md from what the cases say now."""

from tests.reliability import cases
from tests.reliability.table import write

write([(case, case()) for case in cases()])
