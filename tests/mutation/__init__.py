"""Small wrong changes, one at a time: do an area's own fast tests notice? `python -m tests.mutation --help`."""
