"""Interventions: what plain hooks would do by hand, for every row at its own positions, with and without a cache."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from interp.blocks import Site, find_blocks, find_site
from interp.capture import Reading, read_residuals
from interp.config import AdapterSpec
from interp.generation import PaddedBatch, pad_left
from interp.interventions import Capture, Intervention, Patch, Positions, Steer, intervene
from interp.models import LanguageModel, load_language_model
from tests import oracles
from tests.conftest import spec_of
from tests.tiny_models import D_MODEL, N_LAYERS, random_ids

SITES: tuple[Site, ...] = ("residual", "mlp", "attention")
LENGTHS = (4, 15, 9)
PROMPTS = random_ids(LENGTHS, seed=21)
BATCH = pad_left(PROMPTS, 0, "cpu")
PADDING = [max(LENGTHS) - length for length in LENGTHS]
VECTOR = torch.randn(D_MODEL, generator=torch.Generator().manual_seed(1)) * 3
VECTORS = torch.randn(len(PROMPTS), D_MODEL, generator=torch.Generator().manual_seed(2)) * 3


@torch.inference_mode()
def logits(model: LanguageModel, *interventions: Intervention, batch: PaddedBatch = BATCH) -> Tensor:
    """Of every place of a left-padded batch."""
    with intervene(model.network, *interventions):
        out = model.network(input_ids=batch.ids, attention_mask=batch.mask, position_ids=batch.positions)
    return torch.as_tensor(out.logits)


@torch.inference_mode()
def logits_by_hand(model: LanguageModel, layer: int, site: Site, change: Callable[[Tensor], None]) -> Tensor:
    with oracles.output_changed(find_site(find_blocks(model.network)[layer], site), change):
        return logits(model)


def real(values: Tensor) -> Tensor:
    """Without the places of the padding, which mean nothing."""
    return torch.cat([values[row, padding:] for row, padding in enumerate(PADDING)])


def close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, atol=1e-3, rtol=1e-3)


def captured(model: LanguageModel, layer: int, site: Site) -> list[Tensor]:
    capture = Capture((layer,), site=site)
    logits(model, capture)
    return capture.values(layer)


def padded_values(values: Sequence[Tensor]) -> Tensor:
    """`[batch, longest, d_model]`, nonsense where a row has no more tokens."""
    return torch.nn.utils.rnn.pad_sequence(list(values), batch_first=True, padding_value=99.0)


@pytest.mark.parametrize("site", SITES)
def test_interventions_that_change_nothing_are_exact(model: LanguageModel, site: Site) -> None:
    plain = logits(model)
    for layer in range(N_LAYERS):
        values = padded_values(captured(model, layer, site))
        nothings: list[list[Intervention]] = [
            [],
            [Capture((layer,), site=site)],
            [Steer(layer, VECTOR, 0.0, site=site)],
            [Steer(layer, VECTORS, [0.0, 0.0, 0.0], site=site)],
            [Steer(layer, VECTOR, 9.0, Positions(5, 5), site=site)],
            [Steer(layer, VECTOR, 9.0, Positions(max(LENGTHS)), site=site)],
            [Patch(layer, values[:, : min(LENGTHS)], site=site)],
            [Patch(layer, values[:, 2:4], start=2, site=site)],
        ]
        for nothing in nothings:
            assert torch.equal(logits(model, *nothing), plain), (layer, nothing)
        assert not close(real(logits(model, Steer(layer, VECTOR, 0.5, site=site))), real(plain))


@pytest.mark.parametrize("site", SITES)
def test_steering_is_adding_by_hand(model: LanguageModel, site: Site) -> None:
    """One vector and strength everywhere: left padding is not steered."""

    def add(hidden: Tensor) -> None:
        for row, padding in enumerate(PADDING):
            hidden[row, padding:] += 1.5 * VECTOR

    for layer in (0, N_LAYERS - 1):
        steered = logits(model, Steer(layer, VECTOR, 1.5, site=site))
        assert torch.equal(steered, logits_by_hand(model, layer, site, add))


@pytest.mark.parametrize("site", SITES)
def test_each_row_has_its_own_vector_strength_and_positions(model: LanguageModel, site: Site) -> None:
    strengths, starts, stops = [2.0, 0.0, -1.0], [1, 0, 3], [2, 15, 100]

    def add(hidden: Tensor) -> None:
        for row, padding in enumerate(PADDING):
            hidden[row, padding + starts[row] : padding + stops[row]] += strengths[row] * VECTORS[row]

    steered = logits(model, Steer(1, VECTORS, strengths, Positions(starts, stops), site))
    assert torch.equal(steered, logits_by_hand(model, 1, site, add))
    for row, prompt in enumerate(PROMPTS):
        own = Steer(1, VECTORS[row], strengths[row], Positions(starts[row], stops[row]), site)
        alone = logits(model, own, batch=pad_left([prompt], 0, "cpu"))[0]
        assert close(steered[row, PADDING[row] :], alone)
        assert close(alone, logits(model)[row, PADDING[row] :]) == (strengths[row] == 0)


def test_patching_is_copying_by_hand(model: LanguageModel) -> None:
    values, starts = torch.randn(len(PROMPTS), 2, D_MODEL), [0, 13, 4]

    def copy(hidden: Tensor) -> None:
        for row, padding in enumerate(PADDING):
            hidden[row, padding + starts[row] : padding + starts[row] + 2] = values[row]

    for site in SITES:
        patched = logits(model, Patch(2, values, starts, site))
        assert torch.equal(patched, logits_by_hand(model, 2, site, copy))
        assert not close(real(patched), real(logits(model)))


def test_one_patch_serves_all_rows(llama: LanguageModel) -> None:
    values = torch.randn(3, D_MODEL)
    shared = logits(llama, Patch(1, values, start=1))
    assert torch.equal(shared, logits(llama, Patch(1, values.expand(len(PROMPTS), -1, -1), start=[1, 1, 1])))


@pytest.mark.parametrize("layer", range(N_LAYERS))
def test_patching_everything_makes_the_target_the_source(model: LanguageModel, layer: int) -> None:
    source, target = (pad_left([ids], 0, "cpu") for ids in random_ids([12, 12], seed=5))
    capture = Capture((layer,))
    wanted, before = logits(model, capture, batch=source), logits(model, batch=target)
    patched = logits(model, Patch(layer, capture.values(layer)[0]), batch=target)
    assert torch.equal(patched, wanted)
    assert int(wanted[0, -1].argmax()) != int(before[0, -1].argmax())


def test_patching_attention_and_mlp_of_every_layer_makes_the_target_the_source(model: LanguageModel) -> None:
    """The residual is the embedding plus what attention and MLP write; the embedding of the last token is shared."""
    source, target = (pad_left([ids], 0, "cpu") for ids in ([3, 1, 4, 1, 5, 9], [2, 7, 1, 8, 2, 9]))
    captures = [Capture(range(N_LAYERS), site=site) for site in ("attention", "mlp")]
    wanted = logits(model, *captures, batch=source)[0, -1]
    patches = [
        Patch(layer, capture.values(layer)[0], site=capture.site) for capture in captures for layer in range(N_LAYERS)
    ]
    assert torch.equal(logits(model, *patches, batch=target)[0, -1], wanted)
    assert not close(logits(model, *patches[1:], batch=target)[0, -1], wanted)


def test_interventions_apply_in_argument_order(llama: LanguageModel) -> None:
    before, between, after = (Capture((2,)) for _ in range(3))
    values = torch.randn(max(LENGTHS), D_MODEL)
    logits(llama, before, Steer(2, VECTOR, 2.0), between, Patch(2, values), after)
    clean = captured(llama, 2, "residual")
    for row, length in enumerate(LENGTHS):
        assert torch.equal(before.values(2)[row], clean[row])
        assert torch.equal(between.values(2)[row], clean[row] + 2.0 * VECTOR)
        assert torch.equal(after.values(2)[row], values[:length])
    steered_last = Capture((2,))
    logits(llama, Patch(2, values), Steer(2, VECTOR, 2.0), steered_last)
    assert torch.equal(steered_last.values(2)[1], values + 2.0 * VECTOR)


def test_a_change_is_seen_downstream_and_not_upstream(llama: LanguageModel) -> None:
    clean, changed = Capture(range(N_LAYERS)), Capture(range(N_LAYERS))
    logits(llama, clean)
    logits(llama, Steer(1, VECTOR, 2.0), changed)
    assert torch.equal(changed.values(0)[0], clean.values(0)[0])
    for layer in range(1, N_LAYERS):
        assert not close(changed.values(layer)[0], clean.values(layer)[0])


def test_capture_reads_each_row_at_its_positions(model: LanguageModel) -> None:
    whole = dict(read_residuals(model, [Reading(prompt) for prompt in PROMPTS], range(N_LAYERS)))
    capture = Capture((0, 3), Positions([1, 0, 5], [3, 0, 100]))
    logits(model, capture)
    for index, layer in enumerate((0, 3)):
        rows = capture.values(layer)
        assert [len(row) for row in rows] == [2, 0, 4]
        assert close(rows[0], whole[0][layer][1:3]) and close(rows[2], whole[2][layer][5:9]), index


def test_capture_keeps_rows_that_gave_nothing(llama: LanguageModel) -> None:
    capture = Capture((1,), Positions.only([0, 7, 20]))
    logits(llama, capture)
    assert [tuple(row.shape) for row in capture.values(1)] == [(1, D_MODEL), (1, D_MODEL), (0, D_MODEL)]


def test_interventions_act_on_a_model_with_an_adapter(llama_folder: Path, adapters: dict[str, AdapterSpec]) -> None:
    model = load_language_model(spec_of(llama_folder), "cpu")
    clean = real(logits(model, Steer(1, VECTOR)))
    model.use_adapter(adapters["wide"])

    def add(hidden: Tensor) -> None:
        for row, padding in enumerate(PADDING):
            hidden[row, padding:] += VECTOR

    for site in SITES:
        assert torch.equal(logits(model, Steer(1, VECTOR, site=site)), logits_by_hand(model, 1, site, add))
    assert not close(real(logits(model, Steer(1, VECTOR))), clean)
