"""Models and adapters that cannot be loaded as they are: one line, no made-up weights, and the clean base again."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from interp.config import AdapterSpec, BaseModelSpec
from interp.errors import InputError, ModelUnavailable
from interp.models import LanguageModel, load_language_model
from tests.conftest import spec_of
from tests.tiny_models import build_tokenizer, random_ids, rewrite_weights


def logits(model: LanguageModel) -> Tensor:
    with torch.inference_mode():
        return torch.as_tensor(model.network(input_ids=torch.tensor(random_ids([24], seed=7)), use_cache=False).logits)


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
    fresh = load_language_model(spec_of(llama_folder), "cpu")
    for each in (model, fresh):
        each.use_adapter(adapters["narrow"])
    assert torch.equal(logits(model), logits(fresh)) and not torch.equal(logits(fresh), clean)


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
