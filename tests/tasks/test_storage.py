from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
import requests

from oltr_core.ingest.record import TooLarge
from tests.tasks.conftest import KEYS

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


def test_a_large_object_is_read_whole_and_one_that_is_too_large_not_at_all(s3, monkeypatch):
    root = bucket(s3, "large")
    data = bytes(range(256)) * (12 * 2**12)
    s3._client().put_object(Bucket="large", Key="large", Body=data)
    assert s3.read(f"{root}/large", most=len(data)) == data
    monkeypatch.setattr("botocore.response.StreamingBody.iter_chunks", lambda *_: pytest.fail("it was transferred"))
    with pytest.raises(TooLarge, match=r"an object of 12,582,912 bytes: more than ingest.max_bytes = 12,582,911"):
        s3.read(f"{root}/large", most=len(data) - 1)


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


@pytest.mark.parametrize(
    ("code", "kind", "sentence"),
    [
        ("NoSuchKey", FileNotFoundError, "there is no such object or bucket"),
        ("NoSuchBucket", FileNotFoundError, "there is no such object or bucket"),
        ("404", FileNotFoundError, "there is no such object or bucket"),
        ("AccessDenied", ValueError, "the store refused us .*set the AWS environment variables"),
        ("403", ValueError, "the store refused us"),
        ("InvalidAccessKeyId", ValueError, "the store refused us"),
        ("SignatureDoesNotMatch", ValueError, "the store refused us"),
        ("SlowDown", ConnectionError, "SlowDown"),
    ],
)
def test_what_a_store_answers_says_who_can_correct_it(monkeypatch, code, kind, sentence):
    from botocore.stub import Stubber

    from tasks import storage

    for key, value in KEYS.items():
        monkeypatch.setenv(key, value)
    storage._client.cache_clear()
    calls = {
        "get_object": storage.read,
        "list_objects_v2": lambda address: list(storage.list_below(address)),
        "put_object": lambda address: storage.put(address, b"", "image/png"),
        "delete_object": storage.remove,
    }
    with Stubber(storage._client()) as answers:
        for name, call in calls.items():
            answers.add_client_error(name, code)
            with pytest.raises(kind, match=f"^s3://bucket/key: .*{sentence}"):
                call("s3://bucket/key")
    storage._client.cache_clear()


def test_what_is_asked_of_a_store_names_bucket_and_key_what_goes_there_and_every_page(monkeypatch):
    from botocore.response import StreamingBody
    from botocore.stub import Stubber

    from tasks import storage

    for key, value in KEYS.items():
        monkeypatch.setenv(key, value)
    storage._client.cache_clear()
    place = {"Bucket": "bucket", "Key": "a/b c.png"}
    first, last, empty = (
        {"IsTruncated": True, "NextContinuationToken": "on", "Contents": [{"Key": "a/1"}, {"Key": "a/2"}]},
        {"IsTruncated": False, "Contents": [{"Key": "a/3"}]},
        {"IsTruncated": False},
    )
    with Stubber(storage._client()) as answers:
        answers.add_response("put_object", {}, {**place, "Body": b"data", "ContentType": "image/png"})
        assert storage.put("s3://bucket/a/b c.png", b"data", "image/png") is None
        for most in (4, None):
            answers.add_response(
                "get_object", {"Body": StreamingBody(io.BytesIO(b"data"), 4), "ContentLength": 4}, place
            )
            assert storage.read("s3://bucket/a/b c.png", most) == b"data"
        unread = io.BytesIO(b"data")
        answers.add_response("get_object", {"Body": StreamingBody(unread, 4), "ContentLength": 4}, place)
        with pytest.raises(TooLarge, match=r"an object of 4 bytes: more than ingest\.max_bytes = 3"):
            storage.read("s3://bucket/a/b c.png", 3)
        assert unread.closed, "it is not transferred"
        answers.add_response("delete_object", {}, place)
        assert storage.remove("s3://bucket/a/b c.png") is None
        of = {"Bucket": "bucket", "Prefix": "a/"}
        for answer, asked in ((first, of), (last, of | {"ContinuationToken": "on"}), (empty, of)):
            answers.add_response("list_objects_v2", answer, asked)
        assert list(storage.list_below("s3://bucket/a/")) == [f"s3://bucket/a/{n}" for n in (1, 2, 3)]
        assert list(storage.list_below("s3://bucket/a/")) == []
        answers.assert_no_pending_responses()
    storage._client.cache_clear()


def test_a_signed_address_is_of_its_object_and_says_how_long_it_holds(monkeypatch):
    from tasks import storage

    for key, value in KEYS.items():
        monkeypatch.setenv(key, value)
    storage._client.cache_clear()
    address = storage.signed("s3://bucket/a b/1.png", 7200)
    assert address.partition("?")[0].endswith("/a%20b/1.png")
    assert "bucket" in address.partition("?")[0]
    assert {"X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Expires=7200"} <= set(address.partition("?")[2].split("&"))
    assert 7190 < storage.seconds_left(address) <= 7200
    begun = datetime.now(UTC) - timedelta(seconds=100)
    over = f"https://host/x?X-Amz-Expires=60&X-Amz-Date={begun:%Y%m%dT%H%M%SZ}"
    assert -43 < storage.seconds_left(over) <= -40
    assert storage.seconds_left("data:image/png;base64,AA") is None
    storage._client.cache_clear()


def test_a_connection_that_is_closed_and_one_that_is_not_answered_may_pass():
    from botocore.exceptions import ConnectionClosedError, ReadTimeoutError

    from tasks import storage

    for kind, said in ((ConnectionClosedError, "Connection was closed"), (ReadTimeoutError, "Read timeout")):
        with pytest.raises(ConnectionError, match=f"s3://bucket/key: {said}"), storage._told("s3://bucket/key"):
            raise kind(endpoint_url="http://127.0.0.1")


def test_a_store_that_is_silent_is_given_up_after_a_minute(monkeypatch):
    from tasks import storage

    for key, value in KEYS.items():
        monkeypatch.setenv(key, value)
    storage._client.cache_clear()
    how = storage._client().meta.config
    assert (how.connect_timeout, how.read_timeout, how.retries["mode"]) == (10, 60, "standard")
    storage._client.cache_clear()


def test_an_answer_that_is_cut_off_is_asked_for_again_and_in_the_end_an_error(monkeypatch):
    from botocore.response import StreamingBody
    from botocore.stub import Stubber

    from tasks import storage

    for key, value in KEYS.items():
        monkeypatch.setenv(key, value)
    storage._client.cache_clear()
    with Stubber(storage._client()) as answers:

        def answer(content: bytes) -> None:
            body = StreamingBody(io.BytesIO(content), 4)
            answers.add_response("get_object", {"Body": body, "ContentLength": 4})

        for content in [b"fu"] * 4 + [b"full"]:
            answer(content)
        assert storage.read("s3://bucket/key") == b"full"
        for _ in range(5):
            answer(b"fu")
        with pytest.raises(ConnectionError, match="s3://bucket/key: 2 read, but total bytes expected is 4"):
            storage.read("s3://bucket/key")
        answers.assert_no_pending_responses()
    storage._client.cache_clear()


def test_sources_read_from_the_workspace_the_store_and_the_folder_of_data_sets(monkeypatch, tmp_path):
    from oltr_core.layout import Layout
    from tasks import storage

    monkeypatch.delenv("OLTR_DATA_ROOT", raising=False)
    access = storage.source_access(Layout(tmp_path))
    assert (access.path("in"), access.fetch, access.list) == (tmp_path / "in", storage.read, storage.list_below)
    with pytest.raises(ValueError, match="set the environment variable OLTR_DATA_ROOT"):
        access.path("$OLTR_DATA_ROOT/cifar")
    monkeypatch.setenv("OLTR_DATA_ROOT", str(tmp_path / "sets"))
    assert storage.source_access(Layout(tmp_path)).path("$OLTR_DATA_ROOT/cifar") == tmp_path / "sets" / "cifar"


def test_an_address_is_a_bucket_and_a_key():
    from tasks import storage

    assert storage.split("s3://bucket/a/b.png") == ("bucket", "a/b.png")
    assert storage.split("s3://bucket") == ("bucket", "")


def test_an_object_that_was_put_is_read_at_its_signed_address_until_it_is_removed(s3):
    uri = f"{bucket(s3, 'signed')}/a b/1.png"
    s3.put(uri, b"first", "image/png")
    s3.put(uri, b"second", "image/png")
    address = s3.signed(uri, 3600)
    answer = requests.get(address, timeout=10)
    assert (answer.content, answer.headers["Content-Type"]) == (b"second", "image/png")
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in address
    assert 3590 < s3.seconds_left(address) <= 3600
    assert s3.seconds_left("data:image/png;base64,AA") is None
    s3.remove(uri)
    s3.remove(uri)
    assert requests.get(address, timeout=10).status_code == 404
    with pytest.raises(FileNotFoundError, match="s3://none-such/x: there is no such object or bucket"):
        s3.put("s3://none-such/x", b"", "image/png")
