"""Decoder blocks are found by shape, in every architecture and through peft's wrappers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from interp.blocks import Site, find_backbone, find_blocks, find_site
from interp.errors import InputError
from interp.models import LanguageModel
from tests import oracles
from tests.tiny_models import N_LAYERS, random_ids


def wrapped(network: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    return get_peft_model(network, config)


def test_finds_the_blocks_and_the_backbone(folder: Path) -> None:
    network = oracles.fresh_model(folder)
    assert find_blocks(network) is network.model.layers
    assert len(find_blocks(network)) == N_LAYERS
    assert find_backbone(network) is network.model


def test_finds_them_through_a_wrapper(folder: Path) -> None:
    network = oracles.fresh_model(folder)
    blocks, backbone = network.model.layers, network.model
    outside = wrapped(network)
    assert find_blocks(outside) is blocks
    assert find_backbone(outside) is backbone


def test_backbone_gives_what_the_head_is_given(model: LanguageModel) -> None:
    ids = torch.tensor(random_ids([9]))
    given: list[Any] = []
    handle = model.network.lm_head.register_forward_pre_hook(lambda _, args: given.append(args[0]))
    with torch.inference_mode():
        model.network(input_ids=ids)
        handle.remove()
        assert torch.equal(model.backbone(input_ids=ids).last_hidden_state, given[0])
    assert len(given) == 1


@pytest.mark.parametrize(("site", "name"), [("residual", ""), ("mlp", "mlp"), ("attention", "self_attn")])
def test_finds_each_site(model: LanguageModel, site: Site, name: str) -> None:
    block = find_blocks(model.network)[2]
    assert find_site(block, site) is block.get_submodule(name)


def test_a_block_without_a_part_is_refused() -> None:
    with pytest.raises(InputError, match="Linear has no mlp among mlp, feed_forward"):
        find_site(nn.Linear(2, 2), "mlp")


def test_a_model_without_decoder_blocks_is_refused() -> None:
    from transformers import MambaConfig, MambaForCausalLM

    mamba = MambaForCausalLM(MambaConfig(vocab_size=32, hidden_size=8, num_hidden_layers=2, state_size=2))
    with pytest.raises(InputError, match=r"MambaForCausalLM: expected one list of 2 decoder blocks, found 0"):
        find_blocks(mamba)


def test_a_model_with_two_stacks_is_refused(llama_folder: Path) -> None:
    network = oracles.fresh_model(llama_folder)
    network.second_stack = nn.ModuleList(oracles.fresh_model(llama_folder).model.layers)
    with pytest.raises(InputError, match="found 2; this architecture is not supported"):
        find_blocks(network)
