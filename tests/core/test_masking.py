"""No password or token of an address is in what is said, logged or kept."""

from __future__ import annotations

import logging

import pytest

from oltr_core.settings.masking import mask_error, mask_logs, masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://bob:pa/s@s@db:5432/mlflow", "postgresql://***@db:5432/mlflow"),
        ("found 'https://token@host/x'", "found 'https://***@host/x'"),
        ("https://h/x?access_token=abc&y=1#z", "https://h/x?access_token=***&y=1#z"),
        ("https://h/x?sig=a&X-Amz-Signature=b", "https://h/x?sig=***&X-Amz-Signature=***"),
        ("host=db password=abc port=1", "host=db password=*** port=1"),
        ("http://127.0.0.1:4200/api, write to a@b", "http://127.0.0.1:4200/api, write to a@b"),
        ("s3://bucket/a@b, sqlite:////tmp/a@b.db", "s3://bucket/a@b, sqlite:////tmp/a@b.db"),
    ],
)
def test_users_passwords_and_tokens_of_addresses_are_masked_and_nothing_else(text, shown):
    assert masked(text) == shown


def test_an_error_is_masked_with_its_causes():
    inner = OSError("no answer of https://a:b@c")
    outer = ValueError("push to https://a:b@c failed", 3)
    outer.__cause__ = inner
    mask_error(outer)
    assert (outer.args, inner.args) == (("push to https://***@c failed", 3), ("no answer of https://***@c",))


def test_what_any_package_logs_is_masked_once(caplog, monkeypatch):
    monkeypatch.setattr(logging, "_logRecordFactory", logging.getLogRecordFactory())
    mask_logs()
    mask_logs()
    try:
        raise ValueError("https://a:hunter2@c")
    except ValueError:
        logging.getLogger("any.package").exception("push to %s", "https://a:hunter2@c")
    assert "push to https://***@c" in caplog.text
    assert "ValueError: https://***@c" in caplog.text
    assert "hunter2" not in caplog.text
