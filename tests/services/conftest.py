"""These tests start servers and take minutes: only `make test-services` (-m services) runs them."""

from __future__ import annotations


def pytest_collection_modifyitems(config, items):
    if config.option.markexpr == "services":
        return
    here = [item for item in items if item.get_closest_marker("services")]
    if here:
        config.hook.pytest_deselected(items=here)
        items[:] = [item for item in items if item not in here]
