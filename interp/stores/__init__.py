"""Where results go: `gs://`, `s3://` or a folder, behind one interface.

Importing this costs nothing: the clients of Google and Amazon are imported when a store of theirs is opened.
"""

from interp.stores.growing import GrowingUpload, grown_sizes, read_grown
from interp.stores.store import AlreadyThere, NotThere, Retries, Store, StoreConflict, StoreError
from interp.stores.urls import open_store

__all__ = [
    "AlreadyThere",
    "GrowingUpload",
    "NotThere",
    "Retries",
    "Store",
    "StoreConflict",
    "StoreError",
    "grown_sizes",
    "open_store",
    "read_grown",
]
