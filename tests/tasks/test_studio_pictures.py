"""Pictures of Label Studio's tasks in S3: put once, shown for days, forgotten; the server is in tests/services."""

from __future__ import annotations

import hashlib

import pytest
import requests

from oltr_core.layout import Layout
from oltr_core.settings.annotator import Annotator, LabelStudioAnnotator
from oltr_core.spec import parse
from tasks.annotator import batch, studio_pictures

pytestmark = pytest.mark.filterwarnings("ignore")  # botocore's own
ROWS = [{"rank": n, "image_id": letter * 64} for n, letter in enumerate("ab")]


def exported(layout: Layout, name: str) -> list[bytes]:
    """The batch `name` in data/exports; its pictures."""
    contents = [f"picture {row['rank']}".encode() for row in ROWS]
    layout.export(name).images.mkdir(parents=True)
    for row, data in zip(ROWS, contents, strict=True):
        (layout.export(name).folder / batch.file_of(row)).write_bytes(data)
    return contents


def test_pictures_are_put_once_under_their_digest_shown_for_days_and_gone_when_they_are_forgotten(
    tmp_path, s3, monkeypatch
):
    s3._client().create_bucket(Bucket="team")
    layout, settings = Layout(tmp_path), LabelStudioAnnotator(pictures="s3://team/deer/", pictures_days=2)
    s3.put("s3://team/deer2/other.png", b"of another workspace", "image/png")

    def sent(name: str) -> list[str]:
        found = list(studio_pictures.images(layout, settings, name, ROWS, None, 0, s3))
        assert [row for row, _ in found] == ROWS
        return [address for _, address in found]

    contents, put = exported(layout, "0000"), []
    monkeypatch.setattr(s3, "put", lambda uri, *data, real=s3.put: (put.append(uri), real(uri, *data)))
    addresses = sent("0000")
    names = [f"{row['image_id']}-{hashlib.sha256(c).hexdigest()}" for row, c in zip(ROWS, contents, strict=True)]
    keys = [f"s3://team/deer/0000/{name}.png" for name in names]
    assert put == keys
    assert [requests.get(address, timeout=10).content for address in addresses] == contents
    assert all("X-Amz-Expires=172800&" in address for address in addresses)
    assert "testing" not in "".join(addresses).replace("Credential=testing", ""), "no secret is in them"
    sent("0000")
    assert put == keys, "nothing is put again"

    ends = studio_pictures.ends_soon
    assert not ends(settings, s3, addresses[0])
    assert ends(settings.model_copy(update={"pictures_days": 5}), s3, addresses[0]), "less than half is left of it"
    assert not ends(settings.model_copy(update={"pictures_days": 3}), s3, addresses[0])
    assert not ends(settings, s3, "data:image/png;base64,AA"), "sent before the setting was there"
    assert not ends(LabelStudioAnnotator(), s3, addresses[0])

    exported(layout, "0001")
    sent("0001")
    studio_pictures.remove(settings, {"a" * 64, "c" * 64}, s3)
    left = list(s3.list_below("s3://team/"))
    assert left == [keys[1], keys[1].replace("0000", "0001"), "s3://team/deer2/other.png"]
    assert not [uri for uri in left if contents[0] in s3.read(uri)]
    assert requests.get(addresses[0], timeout=10).status_code == 404
    studio_pictures.remove(LabelStudioAnnotator(), {"b" * 64}, s3)
    assert list(s3.list_below("s3://team/")) == left


class Stored(dict[str, bytes]):
    """A store, as the annotator is given it; an address is signed by how long it holds."""

    def put(self, uri: str, data: bytes, kind: str) -> None:
        assert kind == "image/png"
        assert uri not in self, "nothing is put twice"
        self[uri] = data

    def signed(self, uri: str, seconds: int) -> str:
        assert uri in self
        return f"{uri}?{seconds}"

    def seconds_left(self, address: str) -> float | None:
        return float(address.partition("?")[2]) if "?" in address else None

    def list_below(self, prefix: str) -> list[str]:
        return sorted(uri for uri in self if uri.startswith(prefix))

    def remove(self, uri: str) -> None:
        del self[uri]


def test_each_picture_has_a_key_of_batch_image_and_content_and_an_address_for_so_many_days(tmp_path):
    layout, settings = Layout(tmp_path), LabelStudioAnnotator(pictures="s3://team/deer", pictures_days=0.5)
    contents, there = exported(layout, "0000"), Stored({"s3://team/deer2/x.png": b"", "s3://team/deer/0000/x": b""})

    def sent(rows):
        return list(studio_pictures.images(layout, settings, "0000", rows, None, 0, there))

    digests = [hashlib.sha256(data).hexdigest() for data in contents]
    keys = [f"s3://team/deer/0000/{row['image_id']}-{of}.png" for row, of in zip(ROWS, digests, strict=True)]
    assert sent([]) == []
    for _ in range(2):
        assert sent(ROWS) == [(row, f"{key}?43200") for row, key in zip(ROWS, keys, strict=True)]
    assert [there[key] for key in keys] == contents
    ends = studio_pictures.ends_soon
    assert [ends(settings, there, f"x?{left}") for left in (21599, 21600, 43200)] == [True, False, False]
    assert [ends(settings, there, "data:x"), ends(LabelStudioAnnotator(), there, "x?1")] == [False, False]
    studio_pictures.remove(LabelStudioAnnotator(), {"a" * 64}, there)
    assert len(there) == 4
    studio_pictures.remove(settings, {"a" * 64, "c" * 64}, there)
    assert set(there) == {keys[1], "s3://team/deer2/x.png", "s3://team/deer/0000/x"}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"pictures": "s3://b", "pictures_days": 7.5}, "more than 0 and at most 7 days, as long as S3 .*, found 7.5"),
        ({"pictures": "s3://b", "pictures_days": 0}, "more than 0 and at most 7 days, as long as S3 .*, found 0"),
        ({"pictures": "http://host/b"}, "pictures: expected an address s3://bucket/prefix, .* found 'http://host/b'"),
        ({"pictures": "s3:///b"}, "pictures: expected an address s3://bucket/prefix"),
        ({"pictures_days": 3}, "pictures_days 3 does nothing without pictures, their place in S3; name it"),
    ],
)
def test_what_s3_does_not_allow_and_what_would_do_nothing_is_refused(given, sentence):
    with pytest.raises(ValueError, match=f"^params.yaml: annotator.*{sentence}"):
        parse(Annotator, {"name": "label_studio", **given}, "params.yaml: annotator")
