"""S3 through boto3: list, read, put, remove, sign addresses. Retries are boto3's, and so is the check of checksums.

Endpoint and credentials come from the usual AWS environment variables (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_PROFILE ...), never from files of the workspace.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from oltr_core.ingest.record import SourceAccess, TooLarge
from oltr_core.layout import Layout

CHUNK = 2**20
ATTEMPTS = 5  # of every request, with growing pauses


def source_access(layout: Layout) -> SourceAccess:
    """How sources read files and objects: OLTR_DATA_ROOT is what params.yaml calls $OLTR_DATA_ROOT."""
    root = os.environ.get("OLTR_DATA_ROOT")
    return SourceAccess(layout.root, read, list_below, Path(root) if root else None)


def split(uri: str) -> tuple[str, str]:
    """("bucket", "key") of s3://bucket/key. Raises ValueError for anything else."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise ValueError(f"{uri}: expected an address s3://bucket/key")
    return bucket, key


def list_below(uri: str) -> Iterator[str]:
    """Every address below a prefix, in the order of their keys."""
    bucket, prefix = split(uri)
    with _told(uri):
        pages = _client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for page in pages:
            for entry in page.get("Contents", []):
                yield f"s3://{bucket}/{entry['Key']}"


def read(uri: str, most: int | None = None) -> bytes:
    """The whole object; boto3 checks the checksum where the store sent one. Raises TooLarge beyond `most` bytes."""
    from botocore.exceptions import HTTPClientError, IncompleteReadError

    bucket, key = split(uri)
    with _told(uri):
        for attempt in range(1, ATTEMPTS + 1):
            answer = _client().get_object(Bucket=bucket, Key=key)
            if most is not None and answer["ContentLength"] > most:
                answer["Body"].close()
                raise TooLarge(
                    f"an object of {answer['ContentLength']:,} bytes: more than ingest.max_bytes = {most:,}"
                )
            try:
                return b"".join(answer["Body"].iter_chunks(CHUNK))
            except (HTTPClientError, IncompleteReadError):  # the answer was cut off, which boto3 does not try again
                if attempt == ATTEMPTS:
                    raise
    raise AssertionError(uri)


def put(uri: str, data: bytes, kind: str) -> None:
    """Write an object of the media type `kind`, whole or not at all."""
    bucket, key = split(uri)
    with _told(uri):
        _client().put_object(Bucket=bucket, Key=key, Body=data, ContentType=kind)


def remove(uri: str) -> None:
    """Delete an object, if it is there. A bucket that keeps versions keeps those before."""
    bucket, key = split(uri)
    with _told(uri):
        _client().delete_object(Bucket=bucket, Key=key)


def signed(uri: str, seconds: int) -> str:
    """The address at which whoever has it reads the object for so long, a week at most, without credentials.

    It ends earlier where the credentials do that sign it.
    """
    bucket, key = split(uri)
    with _told(uri):
        named = {"Bucket": bucket, "Key": key}
        return _client().generate_presigned_url("get_object", Params=named, ExpiresIn=seconds)


def seconds_left(address: str) -> float | None:
    """How long a signed address holds from now on; None for one that is not signed."""
    query = dict(parse_qsl(urlsplit(address).query))
    if "X-Amz-Date" not in query:
        return None
    begun = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return float(query["X-Amz-Expires"]) - (datetime.now(UTC) - begun).total_seconds()


@cache
def _client() -> Any:
    import boto3
    from botocore.config import Config

    how: dict[str, Any] = {"retries": {"max_attempts": ATTEMPTS, "mode": "standard"}}
    how["signature_version"] = (
        "s3v4"  # for signed addresses boto3 would otherwise take the one before, in some regions
    )
    return boto3.client("s3", config=Config(connect_timeout=10, read_timeout=60, **how))


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """One sentence with the address for what is not there, what a user can correct, and what may pass."""
    from botocore.exceptions import BotoCoreError, ClientError, ProfileNotFound

    try:
        yield
    except TooLarge:
        raise
    except ValueError as error:  # botocore's own, without the name of what is wrong
        raise ValueError(f"{uri}: {error}; correct AWS_ENDPOINT_URL, such as https://host:9000") from error
    except (BotoCoreError, ClientError) as error:
        # None: a connection that was closed, or not answered in time
        answered = getattr(error, "response", None) or {}
        code = answered.get("Error", {}).get("Code", "")
        if code in ("NoSuchKey", "NoSuchBucket", "404"):
            why = f"{uri}: there is no such object or bucket; correct the address in params.yaml"
            raise FileNotFoundError(why) from error
        refused = code in ("AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch")
        if refused or isinstance(error, ProfileNotFound) or "credential" in str(error).lower():
            why = f"{uri}: the store refused us ({error}); set the AWS environment variables"
            raise ValueError(why) from error
        raise ConnectionError(f"{uri}: {error}") from error
