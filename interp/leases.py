"""Leases: which worker has which piece of work in hand, on a file system that all workers share.

A worker writes one file about itself and touches it every few seconds: its heartbeat. To claim a piece of work is to
make a hard link to that file under the work's name; to release it is to remove the link. So every claim is one atomic
operation of the file server, and one heartbeat keeps all that a worker holds.

What this rests on (NFS version 3 and later, Lustre, GPFS, BeeGFS and local disks have it; most object-store mounts
have not): making a link fails when the name is taken, whoever took it; a worker sees its own link and all older ones
when it lists the folder after that; opening a file shows its times as the server has them. No clocks are compared
between machines, no file locks are used. Leases save work, they do not protect results: two workers that do the same
piece, when all else fails, write the same bytes, each file atomically.

The claim counts generations (`key@1`, `key@2`): whoever takes over from a lost worker links the next one. A worker that
merely slept finds that out when it next asks whether it holds its lease.
"""

import errno
import json
import logging
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, unquote

from interp.errors import InputError
from interp.files import (
    json_bytes,
    list_names,
    process_is_running,
    process_start,
    sweep_leftovers,
    temporary_name,
    write_bytes,
)

log = logging.getLogger(__name__)

LEASE_SECONDS = 180.0
"""Without a heartbeat for so long, a worker counts as lost."""
_BEATS = 6
_TRIES = 100
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}


@dataclass(frozen=True)
class Lease:
    """A piece of work in hand, in its `generation`-th claim."""

    key: str
    generation: int

    @property
    def file_name(self) -> str:
        return f"{quote(self.key, safe='')}@{self.generation}"

    @classmethod
    def parse(cls, file_name: str) -> "Lease":
        key, _, generation = file_name.rpartition("@")
        return cls(unquote(key), int(generation))

    @property
    def next(self) -> "Lease":
        return Lease(self.key, self.generation + 1)


@dataclass(frozen=True)
class _LifeSign:
    """A holder's file: which one, when it was last touched, what it says."""

    inode: int
    touched: int
    about: bytes


class Leases:
    """One worker's part in a shared work list; a context, within which its heart beats.

    Args:
        folder: where the leases of one list lie; gone when the last worker leaves.
        seconds: without a heartbeat for so long a worker counts as lost. All workers of a list should say the same.
    """

    def __init__(self, folder: Path, seconds: float = LEASE_SECONDS) -> None:
        self.folder, self.seconds = folder, seconds
        self.works = True
        self._owner = temporary_name(folder / f"worker-{os.urandom(4).hex()}")
        self._mine: set[Lease] = set()
        self._seen: dict[Lease, tuple[_LifeSign, float]] = {}
        self._left = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="lease heartbeat", daemon=True)

    def __enter__(self) -> Self:
        sweep_leftovers(self.folder)
        self._write_owner()
        self._heart.start()
        self.sweep()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._left.set()
        self._heart.join()
        for lease in list(self._mine):
            self.release(lease)
        self._owner.unlink(missing_ok=True)
        sweep_leftovers(self.folder)
        with suppress(OSError):  # another worker is still in it, or has removed it
            self.folder.rmdir()

    def current(self) -> dict[str, Lease]:
        """The latest lease of every key that somebody has claimed."""
        latest: dict[str, Lease] = {}
        for name in list_names(self.folder):
            lease = Lease.parse(name)
            if lease.key not in latest or latest[lease.key].generation < lease.generation:
                latest[lease.key] = lease
        if len(self._seen) > 2 * len(latest) + 100:
            self._seen = {lease: seen for lease, seen in self._seen.items() if lease in latest.values()}
        return latest

    def is_abandoned(self, lease: Lease) -> bool:
        """Whether its holder is gone: no such process, where that can be seen, else no heartbeat for `seconds`.

        Time is counted by this worker's own clock from when it first saw the latest heartbeat.
        """
        sign = self._read(lease)
        if sign is None:
            return False
        now = time.monotonic()
        last, since = self._seen.get(lease, (sign, now))
        if sign != last:
            since = now
        self._seen[lease] = sign, since
        return _died_here(sign.about) or now - since > self.seconds

    def claim(self, key: str, current: Lease | None = None) -> Lease | None:
        """Take a key that is free (`current` is None) or abandoned; None when somebody else was faster."""
        lease = Lease(key, 1) if current is None else current.next
        if not self._link(lease):
            return None
        if self.works and not self._is_latest(lease, current):
            self._path(lease).unlink(missing_ok=True)
            return None
        if current is not None:
            self._bury(current)
        self._mine.add(lease)
        return lease

    def sweep(self) -> None:
        """Remove the leases of workers that are known to be gone."""
        for lease in self.current().values():
            if self.is_abandoned(lease):
                taken = self.claim(lease.key, lease)
                if taken is not None:
                    self.release(taken)

    def holds(self, lease: Lease) -> bool:
        """Whether a lease that was claimed here still is this worker's."""
        return not self.works or (self._is_own(lease) and not self._path(lease.next).exists())

    def release(self, lease: Lease) -> bool:
        """Give a key back; whether it was still this worker's."""
        self._mine.discard(lease)
        if not self.works:
            return True
        is_own = self._is_own(lease)
        held = is_own and not self._path(lease.next).exists()
        if is_own:
            self._path(lease).unlink(missing_ok=True)
        return held

    def _path(self, lease: Lease) -> Path:
        return self.folder / lease.file_name

    def _read(self, lease: Lease) -> _LifeSign | None:
        """What its holder last gave of itself; opened, so that no cached times are seen."""
        try:
            with self._path(lease).open("rb") as file:
                state = os.fstat(file.fileno())
                return _LifeSign(state.st_ino, state.st_mtime_ns, file.read())
        except FileNotFoundError:
            return None

    def _is_latest(self, lease: Lease, current: Lease | None) -> bool:
        """After the link is made: nobody holds a later one, and the abandoned one is still the one that was judged."""
        if self.current().get(lease.key) != lease:
            return False
        return current is None or (current in self._seen and self._read(current) == self._seen[current][0])

    def _link(self, lease: Lease) -> bool:
        """Make the link; True also when an answer got lost on the way and the link is there after all."""
        target = self._path(lease)
        try:
            os.link(self._owner, target)
        except FileExistsError:
            return self._is_own(lease)
        except FileNotFoundError:
            self._write_owner()  # somebody cleaned up: begin again
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if self.works:
                log.warning("%s: no hard links here, so workers cannot share work; use --shard i/n", self.folder)
            self.works = False
        return True

    def _is_own(self, lease: Lease) -> bool:
        try:
            return os.path.samestat(self._path(lease).stat(), self._owner.stat())
        except FileNotFoundError:
            return False

    def _bury(self, lost: Lease) -> None:
        """Remove what a lost worker has left here. Should it only have slept, its next claim makes its file anew."""
        log.info("taking over %s from %s", lost.key, describe_owner(self._path(lost)))
        sign = self._seen.pop(lost)[0]
        with suppress(json.JSONDecodeError, KeyError):
            (self.folder / Path(json.loads(sign.about)["file"]).name).unlink(missing_ok=True)
        for generation in range(1, lost.generation + 1):
            self._path(Lease(lost.key, generation)).unlink(missing_ok=True)

    def _write_owner(self) -> None:
        """Again and again, should a worker that leaves remove the folder at just this moment."""
        for _ in range(_TRIES):
            with suppress(FileNotFoundError):
                return write_bytes(self._owner, json_bytes({"file": self._owner.name, **_own_process()}))
        raise InputError(f"{self.folder} is removed as fast as it is made; which program does that?")

    def _beat(self) -> None:
        while not self._left.wait(self.seconds / _BEATS):
            try:
                os.utime(self._owner)
            except OSError as error:  # a file server that is away for a while; the next beat may reach it
                log.warning("no heartbeat in %s: %s", self.folder, error.strerror)


def describe_owner(path: Path) -> str:
    """`host, process 123`, for people."""
    try:
        about = json.loads(path.read_bytes())
    except (FileNotFoundError, json.JSONDecodeError):
        return "a worker that is gone"
    return f"{about['host']}, process {about['pid']}"


def _own_process() -> Mapping[str, Any]:
    pid = os.getpid()
    return {"host": os.uname().nodename, "pid": pid, "start": process_start(pid), **_process_space()}


@cache
def _process_space() -> Mapping[str, str]:
    """Within which process numbers mean the same: one boot of one machine, one process namespace."""
    boot, namespace = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    return {"boot": boot.read_text().strip(), "namespace": str(namespace.readlink())}


def _died_here(about: bytes) -> bool:
    """Whether a worker's own words name a process of this very machine that runs no more."""
    try:
        owner = json.loads(about)
    except json.JSONDecodeError:
        return False
    here = all(owner.get(key) == value for key, value in _process_space().items())
    return here and not process_is_running(owner["pid"], owner["start"])
