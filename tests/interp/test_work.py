"""Work lists: every item once, in batches that do not depend on what is done."""

import random

import pytest

from interp.errors import InputError
from interp.work import Shard, fixed_batches, pack_by_length


def test_shards_are_disjoint_complete_and_contiguous() -> None:
    draw = random.Random(0)
    for _ in range(200):
        items, count = list(range(draw.randrange(40))), draw.randrange(1, 12)
        parts = [Shard(index, count).of(items) for index in range(count)]
        assert [item for part in parts for item in part] == items
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_default_shard_is_everything() -> None:
    assert Shard().of("abc") == ["a", "b", "c"]


def test_shard_from_text() -> None:
    assert Shard.parse("2/5") == Shard(2, 5)


@pytest.mark.parametrize("text", ["", "1", "5/5", "-1/5", "1/0", "a/b", "0/4/2", "1/", "²/4"])
def test_other_text_says_how_to_write_it(text: str) -> None:
    with pytest.raises(InputError, match="write i/n with 0 <= i < n, for instance 0/4 to 3/4"):
        Shard.parse(text)


def test_batches_are_fixed_by_order_and_size() -> None:
    draw = random.Random(1)
    for _ in range(100):
        items = [f"id_{index}" for index in range(draw.randrange(1, 50))]
        size = draw.randrange(1, 12)
        batches = fixed_batches(items, size, lambda item: (item,))
        assert [item for batch in batches for item in batch] == sorted(items)
        assert all(len(batch) == size for batch in batches[:-1]) and 1 <= len(batches[-1]) <= size
        assert fixed_batches(draw.sample(items, len(items)), size, lambda item: (item,)) == batches


def test_no_items_no_batches() -> None:
    assert fixed_batches([], 3, lambda item: (str(item),)) == []


def test_packing_holds_every_index_once_within_the_bound() -> None:
    draw = random.Random(2)
    for _ in range(300):
        lengths = [draw.randrange(1, 60) for _ in range(draw.randrange(30))]
        bound = draw.randrange(1, 200)
        groups = pack_by_length(lengths, bound)
        assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
        for group in groups:
            assert len(group) == 1 or len(group) * max(lengths[index] for index in group) <= bound
        in_order = [lengths[index] for group in groups for index in group]
        assert in_order == sorted(in_order)


def test_packing_shares_passes() -> None:
    assert pack_by_length([5, 1, 5, 1, 5], 10) == [[1, 3], [0, 2], [4]]
    assert pack_by_length([100, 100], 10) == [[0], [1]]
