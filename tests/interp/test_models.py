"""One base, adapters over it: bit for bit what a fresh load gives, in float32 and in real NF4."""

import gc
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from interp.config import AdapterSpec, BaseModelSpec, Quantization
from interp.errors import InputError, ModelUnavailable
from interp.models import LanguageModel, load_language_model, numerics, pick_device
from tests import oracles
from tests.conftest import spec_of
from tests.tiny_models import (
    END_OF_TEXT,
    END_OF_TURN,
    build_tokenizer,
    random_ids,
    rewrite_weights,
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
        torch.testing.assert_close(
            logits(model)[0], oracles.logits_of(by_hand, IDS[0].tolist()), atol=1e-3, rtol=1e-3
        )


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


def _weights(change: Callable[[str, Tensor], Tensor | None]) -> Callable[[Path], None]:
    return lambda folder: rewrite_weights(folder / "adapter_model.safetensors", change)


def _add_weight(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        path = folder / "adapter_model.safetensors"
        save_file({**load_file(path), name: torch.ones(264, 64)}, path)

    return damage


def _config(old: str, new: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "adapter_config.json"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return damage


def _cut(name: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return damage


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a layer's matrices are missing": (
        _weights(lambda name, tensor: None if "layers.3." in name else tensor),
        r"no matrices for: .*layers\.3\..* and 3 more",
    ),
    "made for a deeper model": (
        _add_weight("base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight"),
        r"the base has not got: .*layers\.9\.",
    ),
    "changes the base itself": (
        _add_weight("base_model.model.model.embed_tokens.weight"),
        "other than LoRA matrices: .*embed_tokens",
    ),
    "another rank": (_config('"r": 2', '"r": 3'), "size mismatch"),
    "foreign targets": (_config('"q_proj"', '"c_attn"'), "no matrices|not got|c_attn"),
    "no such targets": (_config('_proj"', '_nowhere"'), "not found in the base model"),
    "torn weights": (_cut("adapter_model.safetensors"), "check that its files are whole"),
    "torn config": (_cut("adapter_config.json"), "check that its files are whole"),
    "no weights": (lambda folder: (folder / "adapter_model.safetensors").unlink(), "check that its files are whole"),
    "no config": (lambda folder: (folder / "adapter_config.json").unlink(), "check that its files are whole"),
    "no folder": (shutil.rmtree, "no such folder"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_adapter_that_cannot_be_loaded_leaves_the_clean_base(
    llama_folder: Path, adapters: dict[str, AdapterSpec], tmp_path: Path, damage: str
) -> None:
    model = load_language_model(spec_of(llama_folder), "cpu")
    clean, modules = logits(model), [type(module) for module in model.network.modules()]
    folder = shutil.copytree(adapters["narrow"].adapter, tmp_path / "damaged")
    apply, message = DAMAGES[damage]
    apply(folder)
    with pytest.raises(ModelUnavailable, match=message):
        model.use_adapter(AdapterSpec(adapter=str(folder)))
    assert model.adapter is None
    assert torch.equal(logits(model), clean)
    assert [type(module) for module in model.network.modules()] == modules
    model.use_adapter(adapters["narrow"])
    assert torch.equal(logits(model), with_adapter(lambda: load_language_model(spec_of(llama_folder), "cpu"),
                                                   adapters["narrow"]))


@pytest.fixture
def copied(llama_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(llama_folder, tmp_path / "copy")


def test_missing_weights_are_not_made_up(copied: Path) -> None:
    rewrite_weights(
        copied / "model.safetensors", lambda name, tensor: None if name.startswith("model.layers.3.mlp") else tensor
    )
    with pytest.raises(ModelUnavailable, match=r"no weights for: model\.layers\.3\.mlp\.down_proj\.weight and 2 more"):
        load_language_model(spec_of(copied), "cpu")


def test_weights_of_another_shape_are_refused(copied: Path) -> None:
    rewrite_weights(copied / "model.safetensors", lambda name, tensor: tensor[:5] if "layers.1.mlp" in name else tensor)
    with pytest.raises(ModelUnavailable, match="check that its files are whole"):
        load_language_model(spec_of(copied), "cpu")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_torn_base_is_one_line(copied: Path, name: str) -> None:
    _cut(name)(copied)
    with pytest.raises(ModelUnavailable, match="check that its files are whole") as raised:
        load_language_model(spec_of(copied), "cpu")
    assert "\n" not in str(raised.value)


def test_a_hub_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="hf auth login") as raised:
        load_language_model(BaseModelSpec(model="nobody/no-such-model"), "cpu")
    assert "\n" not in str(raised.value)
    with pytest.raises(ModelUnavailable, match="no such folder"):
        load_language_model(BaseModelSpec(model=str(tmp_path / "nowhere")), "cpu")


def test_a_model_without_chat_template_is_refused(copied: Path) -> None:
    for path in copied.glob("*template*"):
        path.unlink()
    build_tokenizer(chat_template=None).save_pretrained(copied)
    with pytest.raises(InputError, match="no chat template"):
        load_language_model(spec_of(copied), "cpu")


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
