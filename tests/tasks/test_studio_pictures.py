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
