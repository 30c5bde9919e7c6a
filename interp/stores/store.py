"""What every store can do, and how it fails: whole objects, written once; an error is never taken for absence."""

import logging
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from interp.errors import InputError, ServiceUnavailable

log = logging.getLogger(__name__)

T = TypeVar("T")

_LONGEST_NAME = 900


class StoreError(ServiceUnavailable):
    """A store cannot be reached, refuses, or holds what it should not."""


class AlreadyThere(StoreError):
    """An object that was to be created exists, with another content."""


class NotThere(StoreError):
    """An object that was to be read does not exist; its store does, and has answered."""


class StoreConflict(StoreError):
    """Two histories of one growing file: neither continues the other."""


class TransientError(Exception):
    """One request failed in a way that may pass (503, 429, a reset connection): `Store` sends it again."""


@dataclass(frozen=True)
class Retries:
    """How often a request is sent, and how long to wait between: each wait is up to twice as long as the last."""

    attempts: int = 6
    first_seconds: float = 1.0
    longest_seconds: float = 20.0

    def wait_seconds(self, failures: int) -> float:
        """How long to wait after so many failures; drawn from the upper half, so that workers do not come together."""
        return min(self.longest_seconds, self.first_seconds * 2.0 ** (failures - 1)) * random.uniform(0.5, 1.0)


class Store(ABC):
    """A place for whole objects under relative POSIX names; nothing in it is ever replaced.

    All methods may be called from several threads. A backend does one request in each `_` method and raises
    TransientError, AlreadyThere, NotThere or StoreError; its library's own retries are off, so that this class knows
    whether an earlier request of its own may have been carried out.
    """

    def __init__(self, url: str, retries: Retries) -> None:
        self.url, self.retries = url.rstrip("/"), retries

    def url_of(self, name: str) -> str:
        """An object's full address, for messages."""
        return f"{self.url}/{name}"

    def exists(self, name: str) -> bool:
        """Whether there is an object of this name.

        Raises:
            StoreError: it cannot be told: unreachable, forbidden, no such bucket. That is never "absent".
        """
        check_name(name)
        return self._persist(f"looking for {self.url_of(name)}", lambda _: self._exists(name))

    def read_bytes(self, name: str) -> bytes:
        """An object's content.

        Raises:
            NotThere: there is no such object.
        """
        check_name(name)

        def read_or_explain(_: int) -> bytes:
            try:
                return self._read(name)
            except NotThere:
                self._exists(name)  # has its own error for a missing bucket
                raise

        return self._persist(f"reading {self.url_of(name)}", read_or_explain)

    def list(self, prefix: str = "") -> dict[str, int]:
        """The names that begin with `prefix` (any text: `fear` also finds `fearful.jsonl`), sorted, and their bytes."""
        if prefix:
            check_name(prefix.removesuffix("/"))
        sizes = self._persist(f"listing {self.url_of(prefix)}", lambda _: self._list(prefix))
        return dict(sorted(sizes.items()))

    def create(self, name: str, data: bytes) -> None:
        """Write an object that is not there yet; of several writers of different bytes exactly one succeeds.

        Where an answer got lost and the request was sent again, an object with these very bytes is our own: success.
        To claim something by creating it, put into `data` who claims it.

        Raises:
            AlreadyThere: there is an object of this name; it stays as it is.
        """
        check_name(name)

        def create_or_recognise(failures: int) -> None:
            try:
                self._create(name, data)
            except AlreadyThere:
                if not failures or self._read(name) != data:
                    raise

        self._persist(f"writing {self.url_of(name)}", create_or_recognise)

    def _persist(self, doing: str, request: Callable[[int], T]) -> T:
        """The request's answer; it is told how many times it failed before."""
        for failures in range(self.retries.attempts):
            if failures:
                time.sleep(self.retries.wait_seconds(failures))
            try:
                return request(failures)
            except TransientError as error:
                reason = str(error)
                log.info("%s failed (%s), attempt %d of %d", doing, reason, failures + 1, self.retries.attempts)
        raise StoreError(
            f"{doing} failed {self.retries.attempts} times, at last with {reason}: check the network and the service's "
            "status, then run the same command again"
        )

    @abstractmethod
    def _exists(self, name: str) -> bool: ...

    @abstractmethod
    def _read(self, name: str) -> bytes: ...

    @abstractmethod
    def _list(self, prefix: str) -> dict[str, int]: ...

    @abstractmethod
    def _create(self, name: str, data: bytes) -> None: ...


def check_name(name: str) -> None:
    """Refuse what is not a relative POSIX path that all stores can hold.

    Raises:
        InputError: a part is empty, or begins with a dot (hidden files, `..`); a backslash or control character; too
            long.
    """
    parts = name.split("/")
    if all(part and not part.startswith(".") for part in parts) and "\\" not in name and name.isprintable():
        if len(name.encode()) <= _LONGEST_NAME:
            return
        raise InputError(f"the name {name[:60]}… has over {_LONGEST_NAME} bytes, which not every store can hold")
    raise InputError(
        f"{name!r} is no name for an object: give a relative path such as exp/3b/fear.jsonl, with no empty part, none "
        "that begins with a dot, no backslash and no control character"
    )


def refused(doing: str, reason: str, advice: str) -> StoreError:
    """A failure that trying again would not mend. `reason` comes from a status or code, never from a request's text."""
    return StoreError(f"{doing}: {reason}; {advice}")
