"""From a URL to its store."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from interp.errors import InputError
from interp.stores.folder_store import FolderStore
from interp.stores.store import Retries, Store, check_name

_ACCEPTED = "gs://bucket/prefix, s3://bucket/prefix, a folder, or file:///folder"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_SCHEME = re.compile(r"(gs|s3|file):|[A-Za-z][A-Za-z0-9+.-]*:/")


def open_store(url: str, retries: Retries | None = None) -> Store:
    """The store at `gs://bucket/prefix`, `s3://bucket/prefix`, a folder or `file:///folder`.

    Credentials and endpoints are those that the services' own libraries find in the environment. Nothing is asked of
    the service yet: a bucket that does not exist shows at the first use. A folder is made when it is first written to.

    Raises:
        InputError: the URL is none of these.
        StoreError: there are no credentials.
    """
    retries = retries or Retries()
    if not url.strip():
        raise InputError(f"an empty address is no store: give {_ACCEPTED}")
    if not _SCHEME.match(url):
        return FolderStore(Path(url).expanduser(), retries)
    if url.startswith("file:"):
        return FolderStore(_file_path(url), retries)
    return _open_bucket(url, retries)


def _open_bucket(url: str, retries: Retries) -> Store:
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    if "@" in bucket:
        raise InputError(f"a {scheme}:// address takes no user or password: they belong into the environment")
    if scheme not in ("gs", "s3") or not _BUCKET.fullmatch(bucket) or "?" in prefix or "#" in prefix:
        raise InputError(f"{url!r} is no store: give {_ACCEPTED}")
    prefix = prefix.rstrip("/")
    if prefix:
        check_name(prefix)
    if scheme == "gs":
        from interp.stores.gs_store import GsStore

        return GsStore(bucket, prefix, retries)
    from interp.stores.s3_store import S3Store

    return S3Store(bucket, prefix, retries)


def _file_path(url: str) -> Path:
    parts = urlsplit(url)
    if not url.startswith("file:///") or parts.query or parts.fragment or not parts.path.strip("/"):
        raise InputError(f"{url!r} is no store: a file address is file:///folder, with three slashes")
    return Path(unquote(parts.path))
