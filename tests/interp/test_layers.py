"""Layers from text, and against a model's range."""

import pytest

from interp.errors import InputError
from interp.layers import check_layers, parse_layers


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("20,23,26", (20, 23, 26)),
        ("0-3", (0, 1, 2, 3)),
        (" 7, 2-3,7 ", (2, 3, 7)),
        ("5-5", (5,)),
    ],
)
def test_layers_from_text(text: str, layers: tuple[int, ...]) -> None:
    assert parse_layers(text) == layers


@pytest.mark.parametrize("text", ["", "a", "1,,2", "3-", "-3", "1-2-3", "1.5", "²"])
def test_other_text_says_how_to_write_it(text: str) -> None:
    with pytest.raises(InputError, match="neither a layer nor a range; write 20,23,26 or 0-5"):
        parse_layers(text)


def test_an_empty_range_is_not_silently_dropped() -> None:
    with pytest.raises(InputError, match="'5-3' is an empty range; write 3-5"):
        parse_layers("1,5-3")


def test_layers_that_a_model_has_come_back_sorted() -> None:
    assert check_layers([3, 0, 3], 4, "m") == (0, 3)


@pytest.mark.parametrize("layers", [[4], [0, -1, 9]])
def test_layers_that_it_lacks_are_named_with_its_range(layers: list[int]) -> None:
    unknown = ", ".join(str(layer) for layer in layers if layer != 0)
    with pytest.raises(InputError, match=f"^some/model has layers 0 to 3, not {unknown}$"):
        check_layers(layers, 4, "some/model")
