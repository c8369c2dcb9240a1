"""Small wrong changes, one at a time: do a room's own fast tests notice? `python -m tests.mutation --help`."""
