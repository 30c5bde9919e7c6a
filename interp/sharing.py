"""Sharing work: every worker takes the next piece that nobody has in hand, until all pieces are done.

A lost worker's piece is taken over; a slow worker keeps the one piece that it has, and nothing else waits for it.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from interp.cli import Progress
from interp.leases import Lease, Leases
from interp.stopping import StopRequest

Item = TypeVar("Item")

Affinity = tuple[Hashable, ...]

log = logging.getLogger(__name__)

_SHORTEST_WAIT, _LONGEST_WAIT = 0.05, 2.0
"""Seconds between two looks for work that others have in hand."""
_LOOK_SHARE = 0.003
"""Of a worker's time may be spent on seeing what others have done meanwhile."""


@dataclass
class TimeSpent:
    """Seconds of a worker: on claims and looking around, and waiting for what others have in hand."""

    claiming: float = 0.0
    waiting: float = 0.0

    def __str__(self) -> str:
        return f"{self.claiming:.1f} s on sharing, {self.waiting:.1f} s waiting for other workers"


@dataclass(frozen=True)
class HowToShare(Generic[Item]):
    """What sharing has to know of the pieces.

    Attributes:
        key: its name, the same for all workers.
        affinity: what a worker would have to change for it, costliest first: (base model, adapter), say.
        is_done: whether its outputs are there. Asked again after a claim: another worker may have just made them.
    """

    key: Callable[[Item], str]
    affinity: Callable[[Item], tuple[Hashable, ...]]
    is_done: Callable[[Item], bool]


class SharedWork(Generic[Item]):
    """A worker's view of a work list that others work on too.

    A worker goes on with the group (pieces of equal affinity) that it is in; then takes one that nobody is in; in the
    end it helps where the fewest are.
    """

    def __init__(self, items: Sequence[Item], how: HowToShare[Item], leases: Leases) -> None:
        self.how, self.leases = how, leases
        self.spent = TimeSpent()
        self._groups: dict[Affinity, dict[str, Item]] = {}
        for item in items:
            self._groups.setdefault(how.affinity(item), {})[how.key(item)] = item
        self._group_of = {key: affinity for affinity, group in self._groups.items() for key in group}
        self._here: Affinity | None = None
        self._in_hand: str | None = None
        self._looked_at, self._look_cost = time.monotonic(), 0.0

    def left(self) -> list[Item]:
        """What is not known to be done, without what is in hand here."""
        return [item for group in self._groups.values() for key, item in group.items() if key != self._in_hand]

    def drop_group_of(self, item: Item) -> None:
        """Leave alone what has the affinity of `item`: it cannot be done here."""
        self._groups.pop(self.how.affinity(item), None)

    def take(self, before_each: Callable[[], None] = lambda: None) -> Generator[Item, None, None]:
        """The pieces, one after another, each leased while the caller works on it; ends when all are done.

        `before_each` is called before every claim and while waiting; it may raise to end the work.
        """
        wait = _SHORTEST_WAIT
        while self._groups:
            before_each()
            claimed = self._timed_claim()
            if claimed is None:
                self._wait(wait)
                wait = min(2 * wait, _LONGEST_WAIT)
                continue
            wait = _SHORTEST_WAIT
            item, lease = claimed
            self._in_hand = lease.key
            try:
                yield item
            finally:
                self._in_hand = None
                self._end_with(lease)

    def do_all(
        self,
        do: Callable[[Item], object],
        describe: Callable[[Item], str],
        progress: Progress,
        stop: StopRequest,
        size: Callable[[Item], int] = lambda _: 1,
    ) -> None:
        """Do what comes to this worker, with a line of progress after each piece.

        Args:
            do: does a piece; False where its whole group cannot be done here.
            describe: names a piece in its line.
            size: what a piece counts for, in the units of `progress`.

        Raises:
            Stopped: a signal asked for it; says how much is left.
        """

        def left() -> int:
            return sum(map(size, self.left()))

        for item in self.take(lambda: stop.raise_if_asked(f"{left()} {progress.unit} left")):
            if do(item) is False:
                self.drop_group_of(item)
            progress.step(size(item), describe(item), left())
        progress.close()

    def _timed_claim(self) -> tuple[Item, Lease] | None:
        started = time.monotonic()
        try:
            self._look_around()
            return self._claim_next()
        finally:
            self.spent.claiming += time.monotonic() - started

    def _claim_next(self) -> tuple[Item, Lease] | None:
        """The next piece that is free and not done; None when others have in hand all that is left."""
        while self._groups:
            current = self.leases.current()
            key = self._choose(current)
            if key is None:
                return None
            lease = self.leases.claim(key, current.get(key))
            if lease is not None:
                item = self._groups[self._group_of[key]][key]
                if not self.how.is_done(item):
                    self._here = self._group_of[key]
                    return item, lease
                self._end_with(lease)
                self._forget_done(self._groups.get(self._group_of[key], {}), current)
        return None

    def _choose(self, current: Mapping[str, Lease]) -> str | None:
        """A piece that nobody has in hand: of the group at hand, else with the fewest changes, then with the fewest
        others at it, then in order."""
        here = self._first_free(self._here, current)
        if here is not None:
            return here
        others = Counter(self._group_of.get(key) for key in current)
        ranked = sorted(self._groups, key=lambda affinity: (self._changes(affinity), others[affinity]))
        free = (self._first_free(affinity, current) for affinity in ranked)
        return next((key for key in free if key is not None), None)

    def _first_free(self, affinity: Affinity | None, current: Mapping[str, Lease]) -> str | None:
        for key in self._groups.get(affinity, ()) if affinity is not None else ():
            if key not in current or self.leases.is_abandoned(current[key]):
                return key
        return None

    def _changes(self, affinity: Affinity) -> int:
        """How much this worker would have to change."""
        return 0 if self._here is None else sum(a != b for a, b in zip(affinity, self._here, strict=True))

    def _end_with(self, lease: Lease) -> None:
        """Whether it was done or not: it is not tried twice here."""
        if not self.leases.release(lease):
            log.warning("%s: another worker took this over while this one stood still; its work is the same", lease.key)
        self._forget(lease.key)

    def _forget(self, key: str) -> None:
        affinity = self._group_of[key]
        group = self._groups.get(affinity, {})
        group.pop(key, None)
        if not group:
            self._groups.pop(affinity, None)

    def _look_around(self) -> None:
        """Drop what others have done, now and then: for the count of what is left, and to ask less at the end."""
        now = time.monotonic()
        if now - self._looked_at < self._look_cost / _LOOK_SHARE:
            return
        current = self.leases.current()
        for lease in current.values():
            self.leases.is_abandoned(lease)  # a silence counts from when it is first seen
        for group in list(self._groups.values()):
            self._forget_done(group, current)
        self._looked_at = time.monotonic()
        self._look_cost = self._looked_at - now

    def _forget_done(self, group: Mapping[str, Item], current: Mapping[str, Lease]) -> None:
        """Drop what is done of a group, but for what somebody has a claim on still."""
        for key in [key for key, item in group.items() if key not in current and self.how.is_done(item)]:
            self._forget(key)

    def _wait(self, seconds: float) -> None:
        time.sleep(seconds)
        self.spent.waiting += seconds
