"""Reading residuals: equal to plain transformers, in one pass that runs no more of the model than it needs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from interp.blocks import find_blocks
from interp.capture import Reading, read_residuals
from interp.config import AdapterSpec
from interp.errors import InputError
from interp.models import LanguageModel, load_language_model
from tests import oracles
from tests.conftest import spec_of
from tests.tiny_models import D_MODEL, N_LAYERS, random_ids

ALL_LAYERS = range(N_LAYERS)
LENGTHS = (5, 17, 9, 17, 1, 12)


def read(
    model: LanguageModel, sequences: Sequence[Sequence[int]], layers: Sequence[int] = ALL_LAYERS, **options: Any
) -> list[Tensor]:
    """Residuals in the order of the sequences."""
    found = dict(read_residuals(model, [Reading(ids) for ids in sequences], layers, **options))
    return [found[index] for index in range(len(sequences))]


def test_equals_output_hidden_states_bit_for_bit(model: LanguageModel, folder: Path) -> None:
    sequences = random_ids(LENGTHS)
    expected = oracles.hidden_states(oracles.fresh_model(folder), oracles.pad_right(sequences))
    for row, resid in enumerate(read(model, sequences)):
        for layer in ALL_LAYERS[:-1]:
            assert torch.equal(resid[layer], expected[layer + 1][row, : LENGTHS[row]])
            assert not torch.equal(resid[layer], expected[layer][row, : LENGTHS[row]])


def test_deepest_layer_is_the_last_block_before_the_norm(model: LanguageModel, folder: Path) -> None:
    sequences = random_ids(LENGTHS)
    ids = oracles.pad_right(sequences)
    normed = oracles.hidden_states(oracles.fresh_model(folder), ids)[-1]
    reference = oracles.fresh_model(folder)
    with torch.inference_mode(), oracles.outputs_kept(reference.model.layers[-1]) as kept:
        reference(input_ids=ids)
    for row, resid in enumerate(read(model, sequences)):
        ours = resid[-1]
        assert torch.equal(ours, kept[0][row, : LENGTHS[row]])
        assert not torch.allclose(ours, normed[row, : LENGTHS[row]], atol=0.1)
        with torch.inference_mode():
            torch.testing.assert_close(reference.model.norm(ours), normed[row, : LENGTHS[row]])


def test_padding_changes_nothing_beyond_rounding(model: LanguageModel) -> None:
    sequences = random_ids(LENGTHS)
    for ids, resid in zip(sequences, read(model, sequences), strict=True):
        torch.testing.assert_close(resid, read(model, [ids])[0], atol=1e-4, rtol=1e-4)


def test_only_the_asked_layers_from_start_on(llama: LanguageModel) -> None:
    (ids,) = random_ids([11])
    whole = read(llama, [ids])[0]
    ((index, part),) = read_residuals(llama, [Reading(ids, start=4)], layers=(3, 1))
    assert index == 0 and part.shape == (2, 7, D_MODEL)
    assert torch.equal(part, whole[[1, 3], 4:])


def test_a_reading_without_kept_tokens_is_empty(llama: LanguageModel) -> None:
    (ids,) = random_ids([6])
    ((_, resid),) = read_residuals(llama, [Reading(ids, start=6)], layers=(1, 2))
    assert resid.shape == (2, 0, D_MODEL)


def test_nothing_beyond_the_deepest_layer_runs(model: LanguageModel) -> None:
    blocks = find_blocks(model.network)
    tripwires = [blocks[3], model.network.model.norm, model.network.lm_head]
    handles = [module.register_forward_pre_hook(_fail) for module in tripwires]
    try:
        assert read(model, random_ids([5]), layers=(0, 2))[0].shape == (2, 5, D_MODEL)
        with pytest.raises(_Reached):
            read(model, random_ids([5]), layers=(3,))
        with pytest.raises(_Reached):
            model.network(input_ids=torch.tensor(random_ids([5])))
        handles.pop(0).remove()
        assert read(model, random_ids([5]), layers=(3,))[0].shape == (1, 5, D_MODEL)
    finally:
        for handle in handles:
            handle.remove()


class _Reached(Exception):
    pass


def _fail(*_: Any) -> None:
    raise _Reached


def test_leaves_no_hooks_whatever_happens(llama: LanguageModel) -> None:
    before = oracles.count_hooks(llama.network)
    abandoned = read_residuals(llama, [Reading(ids) for ids in random_ids([5, 9])], (1,), max_tokens=1)
    next(abandoned)
    assert oracles.count_hooks(llama.network) == before
    tripwire = find_blocks(llama.network)[0].register_forward_pre_hook(_fail)
    with pytest.raises(_Reached):
        read(llama, random_ids([5]))
    tripwire.remove()
    assert oracles.count_hooks(llama.network) == before


def test_packs_by_length_and_loses_nothing(llama: LanguageModel) -> None:
    sequences = random_ids([3, 30, 4, 31, 5, 3, 40])
    shapes: list[tuple[int, ...]] = []
    handle = llama.backbone.register_forward_pre_hook(
        lambda _, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    packed = read(llama, sequences, max_tokens=64)
    handle.remove()
    assert len(shapes) < len(sequences)
    assert all(rows * width <= 64 for rows, width in shapes)
    for ids, resid in zip(sequences, packed, strict=True):
        torch.testing.assert_close(resid, read(llama, [ids])[0], atol=1e-4, rtol=1e-4)


def test_owns_its_memory(llama: LanguageModel) -> None:
    for resid in read(llama, random_ids([20, 3])):
        assert resid.untyped_storage().nbytes() == resid.numel() * 4
        assert resid.device.type == "cpu"


@pytest.mark.parametrize("layers", [(4,), (0, 7), (-1,)])
def test_unknown_layer_names_the_range(llama: LanguageModel, layers: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"layers 0 to 3, not (4|7|-1)$"):
        read(llama, random_ids([5]), layers=layers)


def test_replay_by_the_author_itself_is_bit_exact(llama_folder: Path, adapters: dict[str, AdapterSpec]) -> None:
    """Phase 2 with the author as reader gives phase 1's activations, in this process or in another."""
    sequences = random_ids(LENGTHS)
    model = load_language_model(spec_of(llama_folder), "cpu")
    clean = read(model, sequences)
    model.use_adapter(adapters["narrow"])
    first = read(model, sequences)
    model.use_adapter(adapters["wide"])
    other = read(model, sequences)
    model.use_adapter(adapters["narrow"])
    again = read(model, sequences)
    elsewhere = load_language_model(spec_of(llama_folder), "cpu")
    elsewhere.use_adapter(adapters["narrow"])
    for row, replayed in enumerate(read(elsewhere, sequences)):
        assert torch.equal(first[row], again[row])
        assert torch.equal(first[row], replayed)
        assert not torch.allclose(first[row], clean[row], atol=0.1)
        assert not torch.allclose(first[row], other[row], atol=0.1)
