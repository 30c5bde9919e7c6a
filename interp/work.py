"""Work lists: fixed batches of keys, shared among workers, minus what is done."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from interp.errors import InputError

Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Shard:
    """The `index`-th of `count` disjoint parts of a work list (0-based)."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """From `i/n`.

        Raises:
            InputError: not two numbers with 0 <= i < n.
        """
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
            raise InputError(f"--shard {text!r}: write i/n with 0 <= i < n, for instance 0/4 to 3/4")
        return cls(int(index), int(count))

    def of(self, items: Sequence[Item]) -> list[Item]:
        """A contiguous share, so that neighbours (batches of one organism) stay together."""
        return list(items[len(items) * self.index // self.count : len(items) * (self.index + 1) // self.count])


def fixed_batches(items: Sequence[Item], size: int, order: Callable[[Item], tuple[int | str, ...]]) -> list[list[Item]]:
    """Split items into batches by a fixed order, before anything is filtered out.

    What a batch holds must not depend on what is already done: only so does a resumed run meet the same padding and
    the same kernels as one that was never interrupted.
    """
    ordered = sorted(items, key=order)
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def pack_by_length(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Group sequences of similar length so that each group, padded, has at most `max_tokens` (or one sequence).

    Returns the indices of each group, a fixed function of the lengths.
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if not groups or (len(groups[-1]) + 1) * lengths[index] > max_tokens:
            groups.append([])
        groups[-1].append(index)
    return groups
