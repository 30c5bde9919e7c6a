"""One base, adapters over it: bit for bit what a fresh load gives, in float32 and in real NF4."""

import gc
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from interp.config import AdapterSpec, BaseModelSpec, Quantization
from interp.errors import InputError
from interp.models import LanguageModel, load_language_model, numerics, pick_device
from tests import oracles
from tests.conftest import spec_of
from tests.tiny_models import (
    END_OF_TEXT,
    END_OF_TURN,
    random_ids,
    save_adapter,
    zero_adapter,
)

IDS = torch.tensor(random_ids([24], seed=7))

Load = Callable[[], LanguageModel]


@pytest.fixture(params=["float32", "nf4"])
def load(request: pytest.FixtureRequest, llama_folder: Path) -> Load:
    """Loads the tiny Llama afresh, whole or in 4 bits."""
    quantization = Quantization() if request.param == "nf4" else None
    spec = BaseModelSpec(model=str(llama_folder), dtype="float32", quantization=quantization)
    return lambda: load_language_model(spec, "cpu")


def logits(model: LanguageModel) -> Tensor:
    with torch.inference_mode():
        return torch.as_tensor(model.network(input_ids=IDS, use_cache=False).logits)


def differs(one: Tensor, other: Tensor) -> bool:
    """By far more than rounding."""
    return float((one - other).abs().max()) > 0.1


def with_adapter(load: Load, adapter: AdapterSpec) -> Tensor:
    model = load()
    model.use_adapter(adapter)
    return logits(model)


def test_loads_what_transformers_loads(model: LanguageModel, folder: Path) -> None:
    expected = oracles.logits_of(oracles.fresh_model(folder), IDS[0].tolist())
    assert torch.equal(logits(model)[0], expected)
    assert (model.n_layers, model.d_model) == (4, 64)
    assert model.stop_ids == (END_OF_TEXT, END_OF_TURN)
    assert not model.network.training and not any(p.requires_grad for p in model.network.parameters())


def test_nf4_is_real(llama_folder: Path) -> None:
    from bitsandbytes.nn import Linear4bit

    spec = BaseModelSpec(model=str(llama_folder), dtype="bfloat16", quantization=Quantization())
    network = load_language_model(spec, "cpu").network
    quantized = [name for name, module in network.named_modules() if isinstance(module, Linear4bit)]
    assert len(quantized) == 4 * 7
    assert not isinstance(network.lm_head, Linear4bit) and network.lm_head.weight.dtype == torch.bfloat16
    for name in quantized:
        weight = network.get_submodule(name).weight
        assert weight.dtype == torch.uint8 and weight.numel() * 2 == weight.quant_state.shape.numel()
        assert weight.quant_state.quant_type == "nf4" and weight.quant_state.nested
        assert network.get_submodule(name).compute_dtype == torch.bfloat16


def test_nf4_settings_are_honoured(llama_folder: Path) -> None:
    quantization = Quantization(weights="fp4", double=False, skip=("lm_head", "down_proj"))
    spec = BaseModelSpec(model=str(llama_folder), dtype="float32", quantization=quantization)
    block = load_language_model(spec, "cpu").network.model.layers[0]
    assert block.mlp.down_proj.weight.dtype == torch.float32
    state = block.mlp.up_proj.weight.quant_state
    assert state.quant_type == "fp4" and not state.nested


def test_nf4_is_another_model_than_float32(load: Load, llama: LanguageModel) -> None:
    model = load()
    assert differs(logits(model), logits(llama)) == (model.spec.quantization is not None)


def test_nf4_computes_with_its_dequantised_weights(llama_folder: Path, adapters: dict[str, AdapterSpec]) -> None:
    """In the dtype asked for, however often adapters came and went, and whatever the CPU offers."""
    from bitsandbytes.functional import dequantize_4bit

    spec = BaseModelSpec(model=str(llama_folder), dtype="float32", quantization=Quantization())
    reference, loaded = oracles.fresh_model(llama_folder), load_language_model(spec, "cpu")
    for name, module in reference.model.layers.named_modules():
        if isinstance(module, torch.nn.Linear):
            weight = loaded.network.model.layers.get_submodule(name).weight
            module.weight.data = dequantize_4bit(weight.data, weight.quant_state)
    expected = oracles.logits_of(reference, IDS[0].tolist())
    torch.testing.assert_close(logits(loaded)[0], expected, atol=1e-4, rtol=1e-4)
    for adapter in (*adapters.values(), None):
        loaded.use_adapter(adapter)
        logits(loaded)
    torch.testing.assert_close(logits(loaded)[0], expected, atol=1e-4, rtol=1e-4)


def test_adapter_does_what_its_matrices_say(llama_folder: Path, adapters: dict[str, AdapterSpec]) -> None:
    model = load_language_model(spec_of(llama_folder), "cpu")
    for name in ("narrow", "wide"):
        model.use_adapter(adapters[name])
        by_hand = oracles.add_adapter_by_hand(oracles.fresh_model(llama_folder), Path(adapters[name].adapter))
        torch.testing.assert_close(logits(model)[0], oracles.logits_of(by_hand, IDS[0].tolist()), atol=1e-3, rtol=1e-3)


def test_adapter_off_is_the_clean_base(load: Load, adapters: dict[str, AdapterSpec]) -> None:
    never_wrapped = load()
    expected, modules = logits(never_wrapped), [type(module) for module in never_wrapped.network.modules()]
    model = load()
    for name in ("narrow", "wide"):
        model.use_adapter(adapters[name])
        assert differs(logits(model), expected)
        model.use_adapter(None)
        assert torch.equal(logits(model), expected)
        assert [type(module) for module in model.network.modules()] == modules
        assert oracles.count_hooks(model.network) == oracles.count_hooks(never_wrapped.network)


def test_swap_is_a_fresh_load(load: Load, adapters: dict[str, AdapterSpec]) -> None:
    """From one adapter straight to another of a different rank and different targets, and back."""
    fresh = {name: with_adapter(load, adapters[name]) for name in ("narrow", "wide")}
    assert differs(fresh["narrow"], fresh["wide"])
    model = load()
    for name in ("narrow", "wide", "narrow"):
        model.use_adapter(adapters[name])
        assert torch.equal(logits(model), fresh[name])


def test_zero_adapter_makes_exactly_no_difference(load: Load, adapters: dict[str, AdapterSpec]) -> None:
    model = load()
    clean = logits(model)
    model.use_adapter(adapters["zero"])
    matrices = {name: p for name, p in model.network.named_parameters() if "lora_" in name}
    assert len(matrices) == 4 * 2 * 2
    assert all(bool(p.any()) == ("lora_A" in name) for name, p in matrices.items())
    assert torch.equal(logits(model), clean)


@pytest.mark.parametrize("quantization", [None, Quantization()])
def test_adapters_are_in_the_compute_dtype(
    llama_folder: Path, adapters: dict[str, AdapterSpec], quantization: Quantization | None
) -> None:
    spec = BaseModelSpec(model=str(llama_folder), dtype="bfloat16", quantization=quantization)
    model = load_language_model(spec, "cpu")
    model.use_adapter(adapters["narrow"])
    dtypes = {parameter.dtype for name, parameter in model.network.named_parameters() if "lora_" in name}
    assert dtypes == {torch.bfloat16}
    assert logits(model).dtype == torch.bfloat16


def test_memory_does_not_grow_with_swaps(load: Load, adapters: dict[str, AdapterSpec]) -> None:
    model = load()
    shape = [(name, type(module)) for name, module in model.network.named_modules()]
    parameters = sum(parameter.numel() for parameter in model.network.parameters())

    def new_tensors_after(swaps: int) -> int:
        for swap in range(swaps):
            model.use_adapter(adapters[("narrow", "wide")[swap % 2]])
        logits(model)
        model.use_adapter(None)
        gc.collect()
        return sum(issubclass(type(each), Tensor) for each in gc.get_objects())

    gc.collect()
    gc.freeze()  # what was there before is neither walked nor counted
    try:
        before = new_tensors_after(2)
        assert new_tensors_after(20) <= before
    finally:
        gc.unfreeze()
    assert [(name, type(module)) for name, module in model.network.named_modules()] == shape
    assert sum(parameter.numel() for parameter in model.network.parameters()) == parameters


def test_the_same_adapter_again_loads_nothing(llama_folder: Path, adapters: dict[str, AdapterSpec]) -> None:
    model = load_language_model(spec_of(llama_folder), "cpu")
    model.use_adapter(adapters["narrow"])
    matrices = [p for name, p in model.network.named_parameters() if "lora_" in name]
    model.use_adapter(adapters["narrow"])
    again = [p for name, p in model.network.named_parameters() if "lora_" in name]
    assert all(one is other for one, other in zip(matrices, again, strict=True))


def test_device_and_numerics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device(None) == "cpu"
    with pytest.raises(InputError, match="no GPU is visible"):
        pick_device("cuda:1")
    assert numerics("cpu") == {"device": "cpu", "threads": torch.get_num_threads()}


def test_zero_adapter_helper_starts_from_one_that_bites(
    llama: LanguageModel, llama_folder: Path, tmp_path: Path
) -> None:
    """The zero adapter differs from an effective one only in what was zeroed."""
    folder = save_adapter(tmp_path / "adapter", llama_folder, 3, ["q_proj", "up_proj"], seed=3)
    load: Load = lambda: load_language_model(spec_of(llama_folder), "cpu")  # noqa: E731
    assert differs(with_adapter(load, AdapterSpec(adapter=str(folder))), logits(llama))
    assert torch.equal(with_adapter(load, AdapterSpec(adapter=str(zero_adapter(folder)))), logits(llama))
