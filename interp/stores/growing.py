"""Files that grow: a local append-only JSONL whose progress goes to a store, and comes back on another machine.

In the store it is a chain of parts, each created once and never changed, each named by the byte that it begins with:

    fear.jsonl.parts/part-000000000000.jsonl      bytes 0 to 8191
    fear.jsonl.parts/part-000000008192.jsonl      bytes 8192 to ...
    fear.jsonl                                    the whole, once it is finished

Where a chain ends there is one next name, and a store lets one writer create it. So records cannot mix, and what is
stored cannot shrink or change. A writer adds to the chain only what follows after bytes that it has itself, read and
compared; who meets other bytes gets a StoreConflict, and both histories stay as they are.
"""

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from interp.files import write_bytes
from interp.stores.store import AlreadyThere, NotThere, Store, StoreConflict, StoreError

_PARTS = ".parts/part-"
_PART = re.compile(r"(?P<name>.+)\.parts/part-(?P<start>\d{12})\.jsonl")
_TRIES = 20


@dataclass(frozen=True)
class _Piece:
    """An object that holds a growing file's bytes from `start` up to `end`."""

    name: str
    start: int
    end: int


class GrowingUpload:
    """One process's copy of a growing file: `local` holds lines, each ended by a newline; lines are only ever added.

    Call `fetch` before the local file is opened, `push` every so many lines, `finish` at the end. The file may be open
    for appending meanwhile; flush it before `push`. Not for several threads.
    """

    def __init__(self, store: Store, name: str, local: Path) -> None:
        self.store, self.name, self.local = store, name, local
        self._shared = 0
        self._shared_hash = sha256(b"").digest()

    def fetch(self) -> int:
        """Make the local file the longer one of itself and the stored one, without a torn last line; bytes stored.

        Raises:
            StoreConflict: neither continues the other; both stay as they are.
        """
        local = self._local_bytes()
        lines, stored = _whole_lines(local), _read_chain(self.store, _chain(self.store, self.name))
        common = min(len(lines), len(stored))
        if lines[:common] != stored[:common]:
            raise self._conflict(lines, stored)
        longer = max(lines, stored, key=len)
        if longer != local:
            write_bytes(self.local, longer)
        self._agree_on(stored)
        return len(stored)

    def push(self) -> int:
        """Store all whole local lines that are not stored yet; the bytes that are stored then.

        Raises:
            StoreConflict: the store holds lines that the local file has not; both stay as they are.
            StoreError: the store failed for good; the local file is as it was, and the next push sends all.
        """
        return len(self._push())

    def finish(self) -> int:
        """After a last push, store the whole file as one object of its own name; its bytes.

        The parts stay. May be repeated.
        """
        lines = self._push()
        try:
            self.store.create(self.name, lines)
        except AlreadyThere:
            stored = self.store.read_bytes(self.name)
            if stored != lines:
                raise self._conflict(lines, stored) from None
        return len(lines)

    def _push(self) -> bytes:
        lines = _whole_lines(self._local_bytes())
        self._check_only_added(lines)
        for _ in range(_TRIES):
            self._compare(lines)
            if self._shared == len(lines):
                return lines
            try:
                self.store.create(_part_name(self.name, self._shared), lines[self._shared :])
                self._agree_on(lines)
            except AlreadyThere:  # another writer was faster: the next round compares what it wrote
                continue
        raise StoreError(
            f"{self.store.url_of(self.name)}: the next part is there but is not listed, {_TRIES} times in a row; "
            "check the store, then push again: the local file is complete"
        )

    def _compare(self, lines: bytes) -> None:
        """Go along the chain as far as it goes beyond what is known to be shared; it must be the local file's own."""
        chain = _chain(self.store, self.name)
        if _end(chain) < self._shared:  # somebody removed what was there: compare and send anew
            self._agree_on(b"")
        for piece in chain:
            if piece.end <= self._shared:
                continue
            stored = lines[: self._shared] + _read(self.store, piece)[self._shared - piece.start :]
            if len(stored) > len(lines) or stored != lines[: len(stored)]:
                raise self._conflict(lines, stored)
            self._agree_on(stored)

    def _agree_on(self, stored: bytes) -> None:
        self._shared, self._shared_hash = len(stored), sha256(stored).digest()

    def _check_only_added(self, lines: bytes) -> None:
        if sha256(lines[: self._shared]).digest() != self._shared_hash:
            raise StoreConflict(
                f"{self.local} has lost or changed lines that {self.store.url_of(self.name)} holds; nothing was "
                "sent: move the local file away and fetch the stored one"
            )

    def _local_bytes(self) -> bytes:
        try:
            return self.local.read_bytes()
        except FileNotFoundError:
            return b""

    def _conflict(self, lines: bytes, stored: bytes) -> StoreConflict:
        """Names both histories, and the line from which they differ."""
        common = next((at for at, (a, b) in enumerate(zip(lines, stored, strict=False)) if a != b), None)
        here, there = self.local, self.store.url_of(self.name)
        if common is None:
            return StoreConflict(
                f"{there} holds {len(stored)} bytes, {here} only the first {len(lines)} of them; nothing was sent or "
                "changed: see that no other job writes there, then fetch before going on"
            )
        line = lines[:common].count(b"\n") + 1
        return StoreConflict(
            f"{here} and {there} are two histories, different from line {line} on; nothing was sent or changed: "
            "stop one of the two jobs, then move the local file away, or choose another destination"
        )


def read_grown(store: Store, name: str) -> bytes:
    """What is stored of a growing file so far, whole lines.

    Raises:
        NotThere: nothing of it is stored.
        StoreError: a part is missing or does not fit.
    """
    pieces = _chain(store, name)
    if not pieces:
        raise NotThere(f"{store.url_of(name)}: nothing is stored under this name, neither whole nor in parts")
    return _read_chain(store, pieces)


def grown_sizes(store: Store, prefix: str = "") -> dict[str, int]:
    """The files under `prefix`, finished or still growing (under the name that they will have), and their bytes.

    Raises:
        StoreError: it cannot be told what is there, or a part is missing.
    """
    objects: dict[str, dict[str, int]] = {}
    for name, size in store.list(prefix).items():
        match = _PART.fullmatch(name)
        objects.setdefault(match["name"] if match else name, {})[name] = size
    return {name: _end(_pieces(store, name, sizes)) for name, sizes in sorted(objects.items())}


def _chain(store: Store, name: str) -> list[_Piece]:
    return _pieces(store, name, store.list(name))


def _pieces(store: Store, name: str, sizes: dict[str, int]) -> list[_Piece]:
    """The objects that make up the file, in order: the finished one if there is one, then the parts that follow it.

    Raises:
        StoreError: a part follows on nothing, or is empty.
    """
    pieces = [_Piece(name, 0, sizes[name])] if name in sizes else []
    parts = {int(match["start"]): size for other, size in sizes.items() if (match := _part_of(name, other))}
    while size := parts.get(_end(pieces), 0):
        start = _end(pieces)
        pieces.append(_Piece(_part_name(name, start), start, start + size))
    for start, size in parts.items():
        if not size or start + size > _end(pieces):
            raise StoreError(
                f"{store.url_of(_part_name(name, start))} follows on nothing: what is before it ends at byte "
                f"{_end(pieces)}; restore the missing part, or move this one away"
            )
    return pieces


def _end(pieces: list[_Piece]) -> int:
    return pieces[-1].end if pieces else 0


def _part_of(name: str, other: str) -> re.Match[str] | None:
    match = _PART.fullmatch(other)
    return match if match and match["name"] == name else None


def _part_name(name: str, start: int) -> str:
    return f"{name}{_PARTS}{start:012d}.jsonl"


def _read_chain(store: Store, pieces: list[_Piece]) -> bytes:
    return b"".join(_read(store, piece) for piece in pieces)


def _read(store: Store, piece: _Piece) -> bytes:
    content = store.read_bytes(piece.name)
    if len(content) == piece.end - piece.start and content == _whole_lines(content):
        return content
    raise StoreError(
        f"{store.url_of(piece.name)} was listed with {piece.end - piece.start} bytes and read with {len(content)}, or "
        "ends within a line: it was not written by this program, or not only; move it away"
    )


def _whole_lines(content: bytes) -> bytes:
    """Without what follows the last newline: a line that is being written, or was torn by a kill."""
    return content[: content.rfind(b"\n") + 1]
