"""One base model per process; adapters come and go over it.

The clean model is the same base with nothing on it: `use_adapter(None)` takes the wrappers off again, bit for bit.
Adapters are never merged: merged into 4-bit weights they would be another model.
"""

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from interp.blocks import find_backbone, find_blocks
from interp.chat import stop_token_ids
from interp.config import AdapterSpec, BaseModelSpec, Quantization
from interp.errors import InputError, ModelUnavailable


class LanguageModel:
    """A loaded base model with its tokenizer, and at most one adapter on.

    Attributes:
        network: the Hugging Face model to call. Adapters are put into its modules and taken out again; it stays the
            same object.
    """

    def __init__(self, spec: BaseModelSpec, network: Any, tokenizer: Any) -> None:
        self.spec = spec
        self.network = network
        self.tokenizer = tokenizer
        self.adapter: AdapterSpec | None = None
        self._wrapper: Any = None
        self.stop_ids = stop_token_ids(tokenizer, network.generation_config)
        self.n_layers = len(find_blocks(network))
        self.d_model: int = network.config.get_text_config().hidden_size

    @property
    def device(self) -> torch.device:
        device: torch.device = self.network.get_input_embeddings().weight.device
        return device

    @property
    def backbone(self) -> nn.Module:
        """The decoder without its LM head, any adapter in it."""
        return find_backbone(self.network)

    def use_adapter(self, adapter: AdapterSpec | None) -> None:
        """Put this adapter on in place of the one before; None leaves the clean base.

        Raises:
            ModelUnavailable: it cannot be loaded. The clean base is on then.
        """
        if adapter == self.adapter:
            return
        self._take_off()
        if adapter is not None:
            self._wrapper = _wrap(self.network, adapter, getattr(torch, self.spec.dtype))
            self.adapter = adapter

    def _take_off(self) -> None:
        if self.adapter is not None:
            self._wrapper.unload()
            self._wrapper, self.adapter = None, None
            gc.collect()


def load_language_model(spec: BaseModelSpec, device: str | None = None) -> LanguageModel:
    """Load base weights and tokenizer onto a device, ready to answer.

    Raises:
        ModelUnavailable: not there, no access, or no way to reach the hub.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = pick_device(device)
    with _say_what_to_do(spec.model):
        tokenizer = AutoTokenizer.from_pretrained(spec.model, revision=spec.revision)
        network, loaded = AutoModelForCausalLM.from_pretrained(
            spec.model,
            revision=spec.revision,
            dtype=getattr(torch, spec.dtype),
            quantization_config=_bitsandbytes(spec.quantization, spec.dtype),
            device_map={"": place},
            output_loading_info=True,
        )
        _refuse("no weights for", sorted(loaded["missing_keys"]))  # transformers would draw them at random
    _keep_4bit_weights_as_they_are(network)
    if tokenizer.chat_template is None:
        raise InputError(f"{spec.model} has no chat template; an audit needs a chat model")
    return LanguageModel(spec, network.eval().requires_grad_(False), tokenizer)


def pick_device(device: str | None) -> str:
    """The asked device, else the GPU where there is one."""
    if device and device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"--device {device}: no GPU is visible here; use --device cpu for small models")
    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def set_threads(threads: int | None) -> None:
    """Use so many CPU threads, else as many as this process has cores."""
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))


def numerics(device: str) -> dict[str, Any]:
    """What decides the bits of a sum on this machine; part of the manifest."""
    if device.startswith("cuda"):
        return {"device": torch.cuda.get_device_name(device)}
    return {"device": "cpu", "threads": torch.get_num_threads()}


def _bitsandbytes(quantization: Quantization | None, dtype: str) -> Any:
    if quantization is None:
        return None
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantization.weights,
        bnb_4bit_use_double_quant=quantization.double,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
        bnb_4bit_quant_storage=getattr(torch, quantization.storage),
        llm_int8_skip_modules=list(quantization.skip),
    )


def _keep_4bit_weights_as_they_are(network: Any) -> None:
    """On CPUs with AVX512-BF16, bitsandbytes packs weights anew at the first forward pass and back, with a loss,
    whenever a state dict is asked for (peft does, for each adapter): the base would drift with every swap.
    """
    for module in network.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _wrap(network: Any, adapter: AdapterSpec, dtype: torch.dtype) -> Any:
    """Put an adapter into a network, in the compute dtype (peft would keep float32); the wrapper that takes it out.

    Step by step rather than by `PeftModel.from_pretrained`, which only warns of missing matrices, passes over
    surplus ones, and leaves a half-loaded adapter in the network.
    """
    from peft import PeftConfig, PeftModel, load_peft_weights, set_peft_model_state_dict

    with _say_what_to_do(adapter.adapter), _put_back_on_error(network):
        _refuse_incomplete(adapter.adapter)
        config = PeftConfig.from_pretrained(adapter.adapter, revision=adapter.revision)
        config.inference_mode = True
        weights = load_peft_weights(adapter.adapter, device="cpu", revision=adapter.revision)
        _refuse("weights other than LoRA matrices", [name for name in weights if "lora_" not in name])
        wrapped = PeftModel(network, config, autocast_adapter_dtype=False)
        loaded = set_peft_model_state_dict(wrapped, weights)
        _refuse("matrices for modules that the base has not got", loaded.unexpected_keys)
        _refuse("no matrices for", [name for name in loaded.missing_keys if "lora_" in name])
    for name, parameter in wrapped.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.to(dtype)
    return wrapped.eval().requires_grad_(False)


def _refuse_incomplete(folder: str) -> None:
    """Say what a local adapter lacks, before peft takes the missing file for one of the hub."""
    for names in (["adapter_config.json"], ["adapter_model.safetensors", "adapter_model.bin"]):
        if Path(folder).is_dir() and not any((Path(folder) / name).is_file() for name in names):
            raise ValueError(f"it has no {names[0]}")


def _refuse(what: str, names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise ValueError(f"it has {what}: {names[0]}{more}")


@contextmanager
def _put_back_on_error(network: nn.Module) -> Iterator[None]:
    """An adapter that fails to load leaves every module of the network, and its attributes, as they were."""
    before = [(module, {**vars(module), "_modules": dict(module._modules)}) for module in network.modules()]
    try:
        yield
    except BaseException:
        for module, attributes in before:
            vars(module).clear()
            vars(module).update(attributes)
        raise


@contextmanager
def _say_what_to_do(source: str) -> Iterator[None]:
    """Turn the many errors of loading into one line. What is wrong with the weights themselves keeps its text."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, HfHubHTTPError, OfflineModeIsEnabled, SafetensorError, ValueError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "mismatch" not in str(error):
            raise
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ModelUnavailable(f"cannot load {source}: {reason}. {_advice(source)}") from error


def _advice(source: str) -> str:
    if Path(source).is_dir():
        return "Its folder is there: check that its files are whole and of the right model"
    if source.startswith(("/", ".")):
        return "There is no such folder"
    return "Check the network, `hf auth login`, and that you accepted its licence; or download it and give its folder"
