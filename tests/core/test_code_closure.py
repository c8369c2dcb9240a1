"""Which modules a result depends on, on a small package."""

from __future__ import annotations

import pytest

from oltr_core import code_closure

FILES = {
    "oltr_core/__init__.py": '"""Text."""',
    "oltr_core/start.py": "from oltr_core import slot\nfrom oltr_core.listing import used\nimport oltr_core.plain",
    "oltr_core/plain.py": "def f():\n    from oltr_core.late import g\n    return g",
    "oltr_core/late.py": "import torch\nfrom torch.nn import functional\n",
    "oltr_core/listing/__init__.py": "from oltr_core.listing.one import used\nfrom oltr_core.listing.other import x",
    "oltr_core/listing/one.py": "import typing\nif typing.TYPE_CHECKING:\n    from oltr_core.types import T",
    "oltr_core/listing/other.py": "x = 1",
    "oltr_core/types.py": "T = int",
    "oltr_core/slot/__init__.py": "from oltr_core.slot.a import A\nfrom oltr_core.slot.b import B\nMember = A | B\n",
    "oltr_core/slot/a.py": "A = int",
    "oltr_core/slot/b.py": "B = str",
    "oltr_core/own/__init__.py": "from oltr_core.late import g\n\ndef f():\n    return g\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.setattr(code_closure, "ROOT", tmp_path)
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def closure(*starts: str, **how) -> set[str]:
        found = code_closure.closure([f"oltr_core.{start}" for start in starts], **how)
        assert list(found) == sorted(found)
        return {name.removeprefix("oltr_core.") for name in found}

    return closure


def test_what_is_imported_at_any_depth_is_executed(package):
    assert package("start") == {"start", "listing.one", "plain", "late"}
    assert package("plain") == {"plain", "late"}, "inside a function too"
    assert package("plain", without=["oltr_core.late"]) == {"plain"}
    assert package("start", without=["oltr_core.plain"]) == {"start", "listing.one"}, "what only it imports neither"


def test_an_import_for_type_checkers_is_not_executed(package):
    assert package("listing.one") == {"listing.one"}


def test_a_package_with_statements_of_its_own_is_executed_and_one_that_lists_names_is_not(package):
    assert package("own") == {"own", "late"}
    assert package("listing") == set()


@pytest.mark.parametrize(("every_member", "members"), [(False, set()), (True, {"slot.a", "slot.b"})])
def test_the_members_of_a_slot_are_executed_where_settings_do_not_name_them(package, tmp_path, every_member, members):
    (tmp_path / "oltr_core/reader.py").write_text("from oltr_core.slot import Member\n")
    assert package("reader", every_member=every_member) == {"reader", *members}


def test_the_statements_are_the_text_without_comments_docstrings_and_layout(package, tmp_path):
    module = tmp_path / "oltr_core/types.py"
    module.write_text('"""Text."""\n\n# why\ndef f(x):\n    """Text."""\n    return (x +\n        1)  # units\n')
    assert code_closure.closure(["oltr_core.types"]) == {"oltr_core.types": "def f(x):\n    return x + 1"}
