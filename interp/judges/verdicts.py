"""Verdict files: what a judge said of which item, beside what was judged and never in it.

A verdict file only grows, a line at a time, so it is not written through `interp.files`. A line is written by one
system call as soon as its answer is there: killing the program loses nothing that was answered. It is forced to the
disk about a second later: a machine that loses power loses that second, and asks for it again. A last line that was
cut off is removed when the file is next opened for writing.
"""

import errno
import fcntl
import hashlib
import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from interp.errors import DiskFull, InputError
from interp.judges.rubrics import Rubric, Verdict
from interp.records import Message, Record

_SYNC_SECONDS = 1.0
_BLOCK = 1 << 12
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

log = logging.getLogger(__name__)


class VerdictLine(Record):
    """What came of judging an item: a verdict, or the error that left it unjudged.

    `key` tells one prompt from another for one rubric and judge. `copied`: the verdict on another item with the same
    text, at no cost. `cost` is in USD, null where the price is unknown.
    """

    key: str
    item: str
    rubric: str
    rubric_hash: str
    judge: str
    verdict: Verdict | None
    error: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0
    cost: float | None = 0.0
    copied: bool = False


def verdict_path(beside: Path, rubric: Rubric, judge: str) -> Path:
    """Where the verdicts of one rubric and judge on the items of file `beside` lie."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", judge)
    return beside.with_name(f"{beside.stem}.verdicts") / f"{rubric.name}-{rubric.hash}-{safe}.jsonl"


def verdict_key(rubric: Rubric, judge: str, messages: Sequence[Message]) -> bytes:
    """16 bytes that tell what was asked: the rubric, the judge, and the messages with the texts in them."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (rubric.hash, judge, *(message.content for message in messages)):
        content = part.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8))
        digest.update(content)
    return digest.digest()


class VerdictFile:
    """The verdict file of one rubric and judge, open for reading and adding; a context manager.

    It is the cache too: what was asked once is not asked again. Errors are kept, but are not verdicts: what ended in
    one counts as not judged yet. One process at a time may have it open. In memory are 16 bytes and a place for each
    text, and 16 bytes for each further item that has the same one; the lines stay on the disk.

    Raises:
        InputError: another process has it open; it holds another rubric's or judge's verdicts, or a broken line.
    """

    def __init__(self, path: Path, rubric: Rubric, judge: str) -> None:
        self.path, self.rubric, self.judge = path, rubric, judge
        self._offsets: dict[bytes, int] = {}
        self._sharers: set[bytes] = set()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            self._lock()
            self._size = self._load()
        except BaseException:
            os.close(self._file)
            raise
        self._synced, self._is_open = time.monotonic(), True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        """How many items have a verdict."""
        return len(self._offsets) + len(self._sharers)

    def key(self, messages: Sequence[Message]) -> bytes:
        """`verdict_key` for this rubric and judge."""
        return verdict_key(self.rubric, self.judge, messages)

    def has(self, item: str, key: bytes) -> bool:
        """Whether this item, with just this text, has a verdict."""
        return key in self._offsets and (_entry(item, key) in self._sharers or self._read_at(key).item == item)

    def knows(self, key: bytes) -> bool:
        """Whether there is a verdict on this text, whichever item's it is."""
        return key in self._offsets

    def find(self, key: bytes) -> Verdict | None:
        """The verdict on this text, whichever item's it is; None where there is none."""
        return self._read_at(key).verdict if key in self._offsets else None

    def append(self, line: VerdictLine) -> None:
        """Add a line; it outlives the death of this process.

        Raises:
            DiskFull: the disk has no room for it.
        """
        content = line.model_dump_json().encode() + b"\n"
        self._write(content)
        self._note(line, self._size)
        self._size += len(content)
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """Force what was added to the disk."""
        os.fsync(self._file)
        self._synced = time.monotonic()

    def close(self) -> None:
        """Force everything to the disk and let others write."""
        if self._is_open:
            self.sync()
            self._is_open = False
            number, self._file = self._file, -1  # so that no late write can meet another file of this number
            os.close(number)

    def _lock(self) -> None:
        """Keep others from writing, on file systems that can."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{self.path} is being written by another process; wait for it, or stop it") from None
        except OSError as error:
            log.warning("%s: no locks here (%s): let one process at a time write it", self.path, error.strerror)

    def _load(self) -> int:
        """Read the index, cut off a torn last line; the file's size."""
        size = 0
        for content in _lines(self.path):
            if not content.endswith(b"\n"):
                log.warning("%s: the last line was cut off and is removed; its item is judged again", self.path)
                os.ftruncate(self._file, size)
                break
            line = _read_line(content, self.path, size)
            if (line.rubric_hash, line.judge) != (self.rubric.hash, self.judge):
                raise InputError(f"{self.path} holds verdicts of another rubric or judge ({line.rubric}, {line.judge})")
            self._note(line, size)
            size += len(content)
        return size

    def _note(self, line: VerdictLine, offset: int) -> None:
        if line.verdict is not None:
            key = bytes.fromhex(line.key)
            if self._offsets.setdefault(key, offset) != offset and not self.has(line.item, key):
                self._sharers.add(_entry(line.item, key))

    def _read_at(self, key: bytes) -> VerdictLine:
        """The first line with a verdict on this text."""
        offset = self._offsets[key]
        content = os.pread(self._file, _BLOCK, offset)
        while b"\n" not in content:
            content += os.pread(self._file, _BLOCK, offset + len(content))
        return VerdictLine.model_validate_json(content.partition(b"\n")[0])

    def _write(self, content: bytes) -> None:
        try:
            while content:
                content = content[os.write(self._file, content) :]
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            if error.errno in _FULL:
                raise DiskFull(f"no room on the disk of {self.path}; free some, then run the same command") from error
            raise


def read_verdicts(path: Path) -> Iterator[VerdictLine]:
    """The lines of a verdict file in order, while others may write it; a torn last line is left out.

    Raises:
        InputError: the file is missing or holds a broken line.
    """
    offset = 0
    for content in _lines(path):
        if content.endswith(b"\n"):
            yield _read_line(content, path, offset)
        offset += len(content)


def latest_verdicts(path: Path) -> dict[str, VerdictLine]:
    """The line that counts for each item: its latest verdict, else its latest error; empty without a file.

    Raises:
        InputError: the file holds a broken line.
    """
    latest: dict[str, VerdictLine] = {}
    for line in read_verdicts(path) if path.exists() else ():
        if line.verdict is not None or line.item not in latest or latest[line.item].verdict is None:
            latest[line.item] = line
    return latest


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from file
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None


def _read_line(content: bytes, path: Path, offset: int) -> VerdictLine:
    try:
        return VerdictLine.model_validate_json(content)
    except ValidationError:
        raise InputError(f"{path}: the line at byte {offset} is broken; remove it, or the file") from None


def _entry(item: str, key: bytes) -> bytes:
    return hashlib.blake2b(item.encode("utf-8", "surrogatepass"), key=key, digest_size=16).digest()
