from __future__ import annotations

import pytest

pytestmark = pytest.mark.filterwarnings("ignore")  # botocore's own


def bucket(storage, name: str) -> str:
    storage._client().create_bucket(Bucket=name)
    return f"s3://{name}"


def test_what_is_there_is_listed_in_order_and_read_whole(s3):
    root = bucket(s3, "in-order")
    for name in ("b/2.bin", "b/1.bin", "a.bin"):
        s3._client().put_object(Bucket="in-order", Key=name, Body=name.encode())
    assert list(s3.list_below(f"{root}/")) == [f"{root}/a.bin", f"{root}/b/1.bin", f"{root}/b/2.bin"]
    assert list(s3.list_below(f"{root}/b/")) == [f"{root}/b/1.bin", f"{root}/b/2.bin"]
    assert list(s3.list_below(f"{root}/c")) == []
    assert s3.read(f"{root}/b/1.bin") == b"b/1.bin"


def test_a_large_object_is_streamed_in_pieces(s3):
    root = bucket(s3, "in-pieces")
    data = bytes(range(256)) * (12 * 2**12)
    s3._client().put_object(Bucket="in-pieces", Key="large", Body=data)
    pieces = list(s3.stream(f"{root}/large"))
    assert len(pieces) > 1
    assert b"".join(pieces) == data


def test_more_than_a_page_of_objects_is_listed(s3):
    root = bucket(s3, "many")
    for i in range(1005):
        s3._client().put_object(Bucket="many", Key=f"{i:05d}", Body=b"")
    assert len(list(s3.list_below(f"{root}/"))) == 1005


def test_what_is_not_there_is_named(s3):
    root = bucket(s3, "empty")
    with pytest.raises(FileNotFoundError, match="s3://empty/none: there is no such object"):
        s3.read(f"{root}/none")
    with pytest.raises(FileNotFoundError, match="s3://no-such-bucket"):
        list(s3.list_below("s3://no-such-bucket/x"))


@pytest.mark.parametrize("address", ["", "s3://", "/home/me", "http://bucket/key"])
def test_an_address_that_is_none_is_refused(address):
    from tasks import storage

    with pytest.raises(ValueError, match="expected an address s3://bucket/key"):
        storage.split(address)


def test_a_store_that_cannot_be_reached_is_infrastructure(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(s3, "ATTEMPTS", 1)
    s3._client.cache_clear()
    with pytest.raises(ConnectionError, match="s3://away/x"):
        s3.read("s3://away/x")
