"""python -m tasks.workspace FOLDER: write the generated files of the repository, which is a workspace too."""

import sys
from pathlib import Path

from oltr_core.files import write_atomically
from tasks.workspace import REPOSITORY_OWN, files

for name, content in files().items():
    path = Path(sys.argv[1]) / name
    if name not in REPOSITORY_OWN and (not path.exists() or path.read_bytes() != content):
        write_atomically(path, content)
        print(f"wrote {path}")
