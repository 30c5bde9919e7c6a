"""Reading and changing the residual stream: `Capture`, `Steer` and `Patch` at a site, under one `intervene`.

    with intervene(model, Steer(layer=20, vectors=v, strength=4.0), read := Capture(layers=(30,))):
        model(...)
    read.values(30)

Interventions apply in argument order, in prefill and in every decode step alike: token positions come from the block's
own `position_ids`, not from the length of what it is given, so they hold under left padding and with a KV cache.
Vectors, strengths and positions may differ per row, so that different trials share a batch.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from interp.blocks import Site, find_blocks, find_site
from interp.errors import InputError
from interp.layers import check_layers

FOREVER = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class Positions:
    """A range of token positions, start included and stop not; counted from a row's first real token.

    Either end is one number for all rows, or one per row.
    """

    start: int | Sequence[int] = 0
    stop: int | Sequence[int] = FOREVER

    @classmethod
    def only(cls, position: int | Sequence[int]) -> "Positions":
        """A single position."""
        after = position + 1 if isinstance(position, int) else [p + 1 for p in position]
        return cls(position, after)

    def contain(self, where: "Where") -> Bool[Tensor, "batch seq"]:
        """Which tokens lie in the range; padding never does."""
        start, stop = where.per_row(self.start), where.per_row(self.stop)
        return where.real & (where.positions >= start[:, None]) & (where.positions < stop[:, None])


EVERYWHERE = Positions()


@dataclass(frozen=True)
class Where:
    """The tokens of one forward call: their positions, which of them are real, and which rows are still there."""

    positions: Int[Tensor, "batch seq"]
    real: Bool[Tensor, "batch seq"]
    rows: Int[Tensor, " batch"] | None

    def per_row(self, value: int | Sequence[int] | Tensor) -> Tensor:
        """A per-row setting for the rows of this call: `[batch, …]`."""
        tensor = torch.as_tensor(value, device=self.positions.device)
        if tensor.ndim == 0:
            return tensor.expand(self.positions.shape[0])
        return tensor if self.rows is None else tensor[self.rows]


class Intervention(ABC):
    """Something done to the output of one kind of site at some layers."""

    site: Site

    @property
    @abstractmethod
    def at_layers(self) -> tuple[int, ...]:
        """The layers it acts on."""

    @abstractmethod
    def apply(
        self, layer: int, hidden: Float[Tensor, "batch seq d_model"], where: Where
    ) -> Float[Tensor, "batch seq d_model"]:
        """The site's output after the intervention; never changes `hidden` in place."""

    def n_rows(self) -> set[int]:
        """The numbers of rows that its per-row settings speak of."""
        return set()


@dataclass
class Capture(Intervention):
    """Reads a site at some layers and positions. What earlier interventions changed is read changed."""

    layers: Sequence[int]
    positions: Positions = EVERYWHERE
    site: Site = "residual"
    _chunks: dict[int, list[tuple[Tensor, Tensor]]] = field(default_factory=lambda: defaultdict(list), repr=False)
    _rows_met: int = field(default=0, repr=False)

    @property
    def at_layers(self) -> tuple[int, ...]:
        return tuple(self.layers)

    def apply(self, layer: int, hidden: Tensor, where: Where) -> Tensor:
        inside = self.positions.contain(where)
        rows = torch.arange(hidden.shape[0], device=hidden.device) if where.rows is None else where.rows
        self._rows_met = max(self._rows_met, hidden.shape[0])
        self._chunks[layer].append((rows[:, None].expand_as(inside)[inside], hidden[inside]))
        return hidden

    def values(self, layer: int) -> list[Float[Tensor, "tokens d_model"]]:
        """What was read at a layer, one tensor per row, tokens in the order in which they were fed.

        Raises:
            InputError: the model did not run through that layer.
        """
        if layer not in self._chunks:
            raise InputError(f"nothing was read at layer {layer}; this capture is of layers {list(self.layers)}")
        rows = torch.cat([rows for rows, _ in self._chunks[layer]])
        values = torch.cat([values for _, values in self._chunks[layer]])
        return [values[rows == row] for row in range(self._rows_met)]

    def n_rows(self) -> set[int]:
        return _rows_of(self.positions)


@dataclass
class Steer(Intervention):
    """Adds `strength · vector` to a site at one layer.

    `vectors` is `[d_model]` or one per row `[batch, d_model]`; `strength` one number or one per row. Rows of strength 0
    stay as they are, bit for bit.
    """

    layer: int
    vectors: Float[Tensor, "*batch d_model"]
    strength: float | Sequence[float] = 1.0
    positions: Positions = EVERYWHERE
    site: Site = "residual"

    @property
    def at_layers(self) -> tuple[int, ...]:
        return (self.layer,)

    def apply(self, layer: int, hidden: Tensor, where: Where) -> Tensor:
        strength = where.per_row(torch.as_tensor(self.strength, dtype=torch.float32))
        vectors = self.vectors.to(hidden.device, torch.float32)
        if vectors.ndim == 2:
            vectors = where.per_row(vectors)
        push = (strength[:, None] * vectors).to(hidden.dtype)
        inside = self.positions.contain(where) & (strength != 0)[:, None]
        return torch.where(inside[..., None], hidden + push[:, None], hidden)

    def n_rows(self) -> set[int]:
        rows = _rows_of(self.positions)
        rows |= {self.vectors.shape[0]} if self.vectors.ndim == 2 else set()
        return rows | (set() if isinstance(self.strength, int | float) else {len(self.strength)})


@dataclass
class Patch(Intervention):
    """Replaces a site at one layer by another run's values at the same positions.

    `values` is `[n_positions, d_model]`, or one such per row; they stand at `start`, `start + 1`, … of each row.
    """

    layer: int
    values: Float[Tensor, "*batch n_positions d_model"]
    start: int | Sequence[int] = 0
    site: Site = "residual"

    @property
    def at_layers(self) -> tuple[int, ...]:
        return (self.layer,)

    def apply(self, layer: int, hidden: Tensor, where: Where) -> Tensor:
        start = where.per_row(self.start)
        values = self.values.to(hidden.device, hidden.dtype)
        values = where.per_row(values) if values.ndim == 3 else values.expand(hidden.shape[0], -1, -1)
        offset = where.positions - start[:, None]
        inside = where.real & (offset >= 0) & (offset < values.shape[1])
        index = offset.clamp(0, values.shape[1] - 1)[..., None].expand(-1, -1, hidden.shape[-1])
        return torch.where(inside[..., None], values.gather(1, index), hidden)

    def n_rows(self) -> set[int]:
        rows = {self.values.shape[0]} if self.values.ndim == 3 else set()
        return rows | (set() if isinstance(self.start, int) else {len(self.start)})


class Session:
    """The interventions in force inside an `intervene` block."""

    def __init__(self) -> None:
        self.rows: Tensor | None = None

    def keep_rows(self, rows: Int[Tensor, " kept"]) -> None:
        """Say which of the original rows the next calls hold, in order: decoding drops rows that have finished."""
        self.rows = rows


@contextmanager
def intervene(model: nn.Module, *interventions: Intervention) -> Iterator[Session]:
    """Put interventions on a model for the length of the block; the hooks always come off.

    Raises:
        InputError: an unknown layer, a vector of another width, per-row settings that disagree, or (when the model
            runs) blocks without `position_ids`, or a batch of another number of rows.
    """
    blocks = find_blocks(model)
    _check(model, blocks, interventions)
    session = Session()
    handles: list[RemovableHandle] = []
    try:
        for layer, site in sorted({(layer, each.site) for each in interventions for layer in each.at_layers}):
            here = [each for each in interventions if each.site == site and layer in each.at_layers]
            where: list[Where] = []
            block = blocks[layer]
            handles.append(block.register_forward_pre_hook(_note_positions(session, here, where), with_kwargs=True))
            handles.append(find_site(block, site).register_forward_hook(_apply_all(layer, here, where)))
        yield session
    finally:
        for handle in handles:
            handle.remove()


def _note_positions(session: Session, interventions: Sequence[Intervention], where: list[Where]) -> Callable[..., None]:
    """A hook on the block that notes what tokens it is given, for the hook on the site within it."""
    expected = set().union(*(each.n_rows() for each in interventions))

    def hook(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden: Tensor = args[0] if args else kwargs["hidden_states"]
        positions = kwargs.get("position_ids")
        if positions is None:
            raise InputError(f"{type(block).__name__} gets no position_ids: interventions cannot tell its tokens apart")
        positions = positions.expand(hidden.shape[:2])
        wrong = sorted(expected - {hidden.shape[0]}) if session.rows is None else ()
        if wrong:
            raise InputError(f"an intervention is for {wrong[0]} rows, the batch has {hidden.shape[0]}")
        where[:] = [Where(positions, _real_tokens(positions), session.rows)]

    return hook


def _apply_all(layer: int, interventions: Sequence[Intervention], where: list[Where]) -> Callable[..., Any]:
    def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        before: Tensor = output[0] if isinstance(output, tuple) else output
        hidden = before
        for each in interventions:
            hidden = each.apply(layer, hidden, where[0])
        if hidden is before:
            return None
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    return hook


def _real_tokens(positions: Int[Tensor, "batch seq"]) -> Bool[Tensor, "batch seq"]:
    """Which tokens are not left padding. Padding has constant position ids before the row's position 0."""
    index = torch.arange(positions.shape[1], device=positions.device)
    first = torch.where(positions == 0, index, -1).amax(dim=1)
    return index >= first[:, None]


def _check(model: nn.Module, blocks: nn.ModuleList, interventions: Sequence[Intervention]) -> None:
    width = model.config.get_text_config().hidden_size  # type: ignore[union-attr, operator]
    for each in interventions:
        check_layers(each.at_layers, len(blocks), type(model).__name__)
        given = each.vectors if isinstance(each, Steer) else each.values if isinstance(each, Patch) else None
        if isinstance(given, Tensor) and given.shape[-1] != width:
            raise InputError(f"{type(each).__name__} has width {given.shape[-1]}, {type(model).__name__} has {width}")
        if len(each.n_rows()) > 1:
            raise InputError(f"{type(each).__name__} has per-row settings of {sorted(each.n_rows())} rows")


def _rows_of(positions: Positions) -> set[int]:
    return {len(end) for end in (positions.start, positions.stop) if not isinstance(end, int)}
