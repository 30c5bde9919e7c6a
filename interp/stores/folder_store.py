"""A folder as a store, on a local or shared file system that has hard links."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from interp.files import sweep_leftovers, temporary_name, write_bytes
from interp.stores.store import AlreadyThere, NotThere, Retries, Store, StoreError, refused


class FolderStore(Store):
    """Objects are files; one is there as a whole or not at all: it is written aside, then linked to its name.

    Making a link fails when the name is taken, whoever took it, also on NFS. Hidden files are not objects: they are
    what a killed writer leaves, and go when the folder is next opened.
    """

    def __init__(self, root: Path, retries: Retries) -> None:
        super().__init__(str(root), retries)
        self.root = root
        with suppress(OSError):  # somebody else's, perhaps
            sweep_leftovers(root)

    def _exists(self, name: str) -> bool:
        with _explained(f"looking for {self.url_of(name)}"):
            try:
                return (self.root / name).stat() is not None and (self.root / name).is_file()
            except FileNotFoundError:
                return False

    def _read(self, name: str) -> bytes:
        with _explained(f"reading {self.url_of(name)}"):
            try:
                return (self.root / name).read_bytes()
            except FileNotFoundError:
                raise NotThere(f"{self.url_of(name)} does not exist") from None

    def _list(self, prefix: str) -> dict[str, int]:
        top = self.root / prefix.rpartition("/")[0]
        with _explained(f"listing {self.url_of(prefix)}"):
            sizes = {path.relative_to(self.root).as_posix(): path.stat().st_size for path in _files(top)}
        return {name: size for name, size in sizes.items() if name.startswith(prefix)}

    def _create(self, name: str, data: bytes) -> None:
        path = self.root / name
        aside = temporary_name(path.with_name(os.urandom(8).hex()))
        with _explained(f"writing {self.url_of(name)}"):
            try:
                write_bytes(aside, data)
                self._link(aside, path)
            except FileExistsError:
                raise AlreadyThere(f"{self.url_of(name)} is there already, and is never replaced") from None
            finally:
                with suppress(OSError):
                    aside.unlink(missing_ok=True)

    def _link(self, aside: Path, path: Path) -> None:
        """Also succeeds when the file server's answer got lost and the link is there after all."""
        try:
            os.link(aside, path)
        except FileExistsError:
            if not (path.exists() and os.path.samestat(aside.stat(), path.stat())):
                raise


def _files(top: Path) -> Iterator[Path]:
    """All files below a folder that are not hidden; none where it does not exist; an unreadable folder is an error."""
    try:
        entries = list(os.scandir(top))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _files(Path(entry.path))
        else:
            yield Path(entry.path)


@contextmanager
def _explained(doing: str) -> Iterator[None]:
    """What the file system refuses, as one line; a full disk keeps its own error."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        advice = "check that the path is right, mounted, yours to write, and on a file system with hard links"
        raise refused(doing, error.strerror or type(error).__name__, advice) from error
