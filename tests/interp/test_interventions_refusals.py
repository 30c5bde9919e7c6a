"""What interventions refuse, in words; and that they always come off."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from interp.errors import InputError
from interp.interventions import Capture, Intervention, Patch, Positions, Steer, intervene
from interp.models import LanguageModel
from tests import oracles
from tests.tiny_models import D_MODEL, random_ids

IDS = torch.tensor(random_ids([6, 6], seed=3))
VECTOR = torch.ones(D_MODEL)


def run(network: Any, *interventions: Intervention) -> None:
    with torch.inference_mode(), intervene(network, *interventions):
        network(input_ids=IDS)


REFUSALS: dict[str, tuple[Sequence[Intervention], str]] = {
    "layer": ([Steer(4, VECTOR)], "LlamaForCausalLM has layers 0 to 3, not 4"),
    "one layer of several": ([Capture((0, -1, 9))], "LlamaForCausalLM has layers 0 to 3, not -1, 9"),
    "width of a vector": ([Steer(0, torch.ones(D_MODEL + 1))], "Steer has width 65, LlamaForCausalLM has 64"),
    "width of a patch": ([Patch(0, torch.ones(2, 32))], "Patch has width 32, LlamaForCausalLM has 64"),
    "rows of vectors": ([Steer(0, torch.ones(3, D_MODEL))], "an intervention is for 3 rows, the batch has 2"),
    "rows of strengths": ([Steer(0, VECTOR, [1.0])], "an intervention is for 1 rows, the batch has 2"),
    "rows of positions": ([Capture((1,), Positions([1, 2, 3]))], "an intervention is for 3 rows, the batch has 2"),
    "rows of a patch": ([Patch(0, torch.ones(5, 1, D_MODEL))], "an intervention is for 5 rows, the batch has 2"),
    "rows of one of two": (
        [Steer(0, torch.ones(2, D_MODEL)), Steer(0, VECTOR, [1.0, 1.0, 1.0])],
        "an intervention is for 3 rows, the batch has 2",
    ),
    "rows that disagree": (
        [Steer(0, torch.ones(2, D_MODEL), [1.0, 1.0, 1.0])],
        "Steer has per-row settings of [2, 3] rows",
    ),
    "ends that disagree": (
        [Capture((0,), Positions([1, 2], [3, 4, 5]))],
        "Capture has per-row settings of [2, 3] rows",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refuses_in_one_clear_line(llama: LanguageModel, case: str) -> None:
    interventions, message = REFUSALS[case]
    before = oracles.count_hooks(llama.network)
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        run(llama.network, *interventions)
    assert oracles.count_hooks(llama.network) == before


def test_refuses_blocks_that_are_not_told_positions() -> None:
    from transformers import MptConfig, MptForCausalLM

    network = MptForCausalLM(MptConfig(vocab_size=264, d_model=D_MODEL, n_layers=2, n_heads=2)).eval()
    with pytest.raises(InputError, match="MptBlock gets no position_ids"):
        run(network, Steer(0, VECTOR))
    assert oracles.count_hooks(network) == 0


def test_refuses_values_of_a_layer_that_was_not_read(llama: LanguageModel) -> None:
    capture = Capture((1, 2))
    with pytest.raises(InputError, match=r"nothing was read at layer 1; this capture is of layers \[1, 2\]"):
        capture.values(1)
    run(llama.network, capture)
    assert len(capture.values(1)) == 2
    with pytest.raises(InputError, match="nothing was read at layer 3"):
        capture.values(3)


def _fail(*_: Any) -> None:
    raise RuntimeError("in the middle")


@pytest.mark.parametrize("where", ["inside", "in the model"])
def test_hooks_come_off_when_something_fails(llama: LanguageModel, where: str) -> None:
    network = llama.network
    tripwire = network.model.layers[2].register_forward_pre_hook(_fail) if where == "in the model" else None
    before = oracles.count_hooks(network)
    with (
        pytest.raises(RuntimeError, match="in the middle"),
        torch.inference_mode(),
        intervene(network, Steer(0, VECTOR), Capture((0, 1), site="mlp")),
    ):
        assert oracles.count_hooks(network) == before + 6
        network(input_ids=IDS)
        _fail()
    assert oracles.count_hooks(network) == before
    if tripwire is not None:
        tripwire.remove()


@pytest.mark.parametrize("use", [run, lambda network, *_: None])
def test_hooks_come_off_at_the_end(llama: LanguageModel, use: Callable[..., None]) -> None:
    before = oracles.count_hooks(llama.network)
    use(llama.network, Steer(0, VECTOR), Capture((0, 1, 2)), Patch(3, torch.ones(1, D_MODEL), site="attention"))
    assert oracles.count_hooks(llama.network) == before


def test_vectors_are_not_changed(llama: LanguageModel) -> None:
    vector, values = torch.ones(D_MODEL), torch.ones(2, D_MODEL)
    run(llama.network, Steer(0, vector, 3.0), Patch(1, values))
    assert torch.equal(vector, torch.ones(D_MODEL)) and torch.equal(values, torch.ones(2, D_MODEL))
