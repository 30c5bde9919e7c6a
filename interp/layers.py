"""Which layers: 0-based decoder blocks. "The residual at layer l" is the output of block l."""

from collections.abc import Sequence

from interp.errors import InputError


def parse_layers(text: str) -> tuple[int, ...]:
    """Layers from an option: `20,23,26` or `0-5` or a mixture; sorted, each once.

    Raises:
        InputError: the text is not such a list.
    """
    layers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(f"layers {text!r}: {part.strip()!r} is neither a layer nor a range; write 20,23,26 or 0-5")
        if dash and int(last) < int(first):
            raise InputError(f"layers {text!r}: {part.strip()!r} is an empty range; write {last}-{first}")
        layers.update(range(int(first), int(last if dash else first) + 1))
    return tuple(sorted(layers))


def check_layers(layers: Sequence[int], n_layers: int, model: str) -> tuple[int, ...]:
    """The layers, sorted, when a model with `n_layers` blocks has them all.

    Raises:
        InputError: it lacks some.
    """
    unknown = [layer for layer in layers if not 0 <= layer < n_layers]
    if unknown:
        raise InputError(f"{model} has layers 0 to {n_layers - 1}, not {', '.join(map(str, unknown))}")
    return tuple(sorted(set(layers)))
