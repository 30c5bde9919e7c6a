"""Amazon S3, or what speaks its protocol, as a store, through botocore with its own retries off."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    ResponseStreamingError,
)
from botocore.exceptions import (
    ConnectionError as NoConnection,
)

from interp.stores.store import AlreadyThere, NotThere, Retries, Store, TransientError, refused

_CONFIG = Config(
    retries={"total_max_attempts": 1}, connect_timeout=20, read_timeout=120, max_pool_connections=32,
)  # fmt: skip
_MAY_PASS = {408, 429, 500, 502, 503, 504}
_CODES_THAT_MAY_PASS = {"RequestTimeout", "SlowDown", "ConditionalRequestConflict", "OperationAborted"}
_CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, of one who may list, get and put"


class S3Store(Store):
    """`s3://bucket/prefix`; AWS_ENDPOINT_URL and all other AWS_* settings are read by the library.

    An object comes into being with its last byte, so a broken upload leaves nothing; If-None-Match makes it create-only
    (Amazon S3 has that since August 2024; another service that ignores it cannot be used safely).
    """

    def __init__(self, bucket: str, prefix: str, retries: Retries) -> None:
        super().__init__(f"s3://{bucket}/{prefix}", retries)
        self._bucket, self._before = bucket, f"{prefix}/" if prefix else ""
        with self._explained(f"opening {self.url}"):
            self._client: Any = botocore.session.get_session().create_client("s3", config=_CONFIG)

    def _exists(self, name: str) -> bool:
        """A listing tells a missing bucket from a missing object; asking for the object does not. It comes first."""
        with self._explained(f"looking for {self.url_of(name)}"):
            page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._before + name, MaxKeys=1)
        return any(item["Key"] == self._before + name for item in page.get("Contents", []))

    def _list(self, prefix: str) -> dict[str, int]:
        with self._explained(f"listing {self.url_of(prefix)}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._before + prefix
            )
            items = [item for page in pages for item in page.get("Contents", [])]
        sizes = {item["Key"].removeprefix(self._before): int(item["Size"]) for item in items}
        return {name: size for name, size in sizes.items() if name and not name.endswith("/")}

    def _read(self, name: str) -> bytes:
        with self._explained(f"reading {self.url_of(name)}"):
            answer = self._client.get_object(Bucket=self._bucket, Key=self._before + name)
            content: bytes = answer["Body"].read()
            return content

    def _create(self, name: str, data: bytes) -> None:
        with self._explained(f"writing {self.url_of(name)}"):
            self._client.put_object(Bucket=self._bucket, Key=self._before + name, Body=data, IfNoneMatch="*")

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """The library's errors as ours; only codes get into messages, for the texts may hold keys and signatures."""
        try:
            yield
        except ClientError as error:
            status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
            raise self._error(doing, status, str(error.response.get("Error", {}).get("Code", ""))) from None
        except (NoConnection, HTTPClientError, IncompleteReadError, ResponseStreamingError) as error:
            raise TransientError(type(error).__name__) from None
        except NoCredentialsError:
            raise refused(doing, "no AWS credentials were found", _CREDENTIALS) from None
        except (BotoCoreError, ValueError) as error:
            advice = "check AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL and the files that they name"
            raise refused(doing, f"the AWS settings do not work ({type(error).__name__})", advice) from None

    def _error(self, doing: str, status: int, code: str) -> Exception:
        if status in _MAY_PASS or code in _CODES_THAT_MAY_PASS:
            return TransientError(f"HTTP {status} {code}".strip())
        if status == 412:
            return AlreadyThere(f"{doing}: it is there already, and is never replaced")
        if code == "NoSuchKey":
            return NotThere(f"{doing}: there is no such object")
        if code == "NoSuchBucket":
            return refused(doing, "no such bucket", f"check the name, or create s3://{self._bucket} first")
        if status in (401, 403):
            return refused(doing, f"not allowed (HTTP {status} {code})", _CREDENTIALS)
        return refused(doing, f"HTTP {status} {code}".strip(), "check the address, AWS_REGION and the service's status")
