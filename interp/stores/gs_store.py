"""Google Cloud Storage as a store, through google-cloud-storage with its own retries off."""

from collections.abc import Iterator
from contextlib import contextmanager

import requests
from google.api_core.exceptions import GoogleAPICallError, NotFound
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

from interp.stores.store import AlreadyThere, NotThere, Retries, Store, StoreError, TransientError, refused

_SECONDS = (20.0, 120.0)
"""To connect, and between two pieces of an answer."""
_MAY_PASS = {408, 429, 500, 502, 503, 504}
_CREDENTIALS = "set GOOGLE_APPLICATION_CREDENTIALS to a key file, or run `gcloud auth application-default login`"


class GsStore(Store):
    """`gs://bucket/prefix`; STORAGE_EMULATOR_HOST is read by the library, and then no credentials are needed.

    An object comes into being with its last byte, so a broken upload leaves nothing; ifGenerationMatch=0 makes it
    create-only.
    """

    def __init__(self, bucket: str, prefix: str, retries: Retries) -> None:
        super().__init__(f"gs://{bucket}/{prefix}", retries)
        self._before = f"{prefix}/" if prefix else ""
        try:
            self._bucket = storage.Client(project=None).bucket(bucket)
        except DefaultCredentialsError:
            raise StoreError(f"{self.url}: no Google credentials were found; {_CREDENTIALS}") from None

    def _exists(self, name: str) -> bool:
        return name in self._page(name, first_only=True)

    def _list(self, prefix: str) -> dict[str, int]:
        return self._page(prefix, first_only=False)

    def _page(self, prefix: str, first_only: bool) -> dict[str, int]:
        """Names and sizes; of all names that begin with `prefix`, `prefix` itself comes first.

        A listing tells a missing bucket from a missing object; asking for the object does not.
        """
        with self._explained(f"listing {self.url_of(prefix)}"):
            blobs = self._bucket.list_blobs(
                prefix=self._before + prefix, max_results=1 if first_only else None,
                fields="items(name,size),nextPageToken", retry=None, timeout=_SECONDS,
            )  # fmt: skip
            sizes = {blob.name.removeprefix(self._before): int(blob.size) for blob in blobs}
        return {name: size for name, size in sizes.items() if name and not name.endswith("/")}

    def _read(self, name: str) -> bytes:
        """Checked against the object's own checksum by the library."""
        with self._explained(f"reading {self.url_of(name)}"):
            try:
                content: bytes = self._bucket.blob(self._before + name).download_as_bytes(retry=None, timeout=_SECONDS)
            except NotFound:
                raise NotThere(f"{self.url_of(name)}: there is no such object") from None
            return content

    def _create(self, name: str, data: bytes) -> None:
        with self._explained(f"writing {self.url_of(name)}"):
            self._bucket.blob(self._before + name).upload_from_string(
                data, content_type="application/octet-stream", if_generation_match=0, retry=None, timeout=_SECONDS,
            )  # fmt: skip

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """The library's errors as ours; only statuses get into messages, for URLs of uploads are secrets."""
        try:
            yield
        except GoogleAPICallError as error:
            raise self._error(doing, int(error.code or 0)) from None
        except InvalidResponse as error:
            raise self._error(doing, int(error.response.status_code)) from None
        except (requests.RequestException, TransportError, DataCorruption, ConnectionError) as error:
            raise TransientError(type(error).__name__) from None
        except GoogleAuthError as error:
            raise refused(doing, f"signing in failed ({type(error).__name__})", _CREDENTIALS) from None

    def _error(self, doing: str, status: int) -> Exception:
        if status in _MAY_PASS:
            return TransientError(f"HTTP {status}")
        if status == 412:
            return AlreadyThere(f"{doing}: it is there already, and is never replaced")
        if status == 404:
            return refused(doing, "no such bucket", f"check the name, or create gs://{self._bucket.name} first")
        if status in (401, 403):
            return refused(doing, f"not allowed (HTTP {status})", f"it takes Storage Object User; {_CREDENTIALS}")
        return refused(doing, f"HTTP {status}", "check the address and the service's status")
