"""Tiny random models of every architecture, with a byte-level tokenizer, a chat template, and adapters that bite."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

FAMILIES = ("llama", "qwen2", "qwen3", "gemma2", "gemma3", "mistral")
SLIDING_WINDOW = 8
"""Of Gemma 2, Gemma 3 and Mistral: shorter than nearly every prompt of the tests."""
N_LAYERS = 4
D_MODEL = 64

SPECIAL_TOKENS = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
N_BYTES = 256
END_OF_TEXT, END_OF_TURN = N_BYTES + 1, N_BYTES + 4
VOCABULARY = 264

CHAT_TEMPLATE = """\
{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
"""As Llama 3.3's, tools left out: it prints today's date unless it is told another."""


def build_tokenizer(chat_template: str | None = CHAT_TEMPLATE) -> Any:
    """One token per byte, and the special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={byte: index for index, byte in enumerate(alphabet)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token=SPECIAL_TOKENS[0], eos_token=SPECIAL_TOKENS[-1]
    )
    tokenizer.chat_template = chat_template
    return tokenizer


def build_config(family: str) -> Any:
    """Four layers; weights so large that every layer and every token matters to the logits."""
    import transformers

    shape: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": D_MODEL,
        "intermediate_size": 128,
        "num_hidden_layers": N_LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 512,
        "initializer_range": 0.2,
        "tie_word_embeddings": False,
        "bos_token_id": N_BYTES,
        "eos_token_id": END_OF_TEXT,
        "pad_token_id": None,
    }
    alternating = ["sliding_attention", "full_attention"] * (N_LAYERS // 2)
    sliding = {"sliding_window": SLIDING_WINDOW, "layer_types": alternating}
    match family:
        case "llama":
            return transformers.LlamaConfig(**shape)
        case "qwen2":
            del shape["head_dim"]
            return transformers.Qwen2Config(**shape)
        case "qwen3":
            return transformers.Qwen3Config(**shape)
        case "gemma2":
            return transformers.Gemma2Config(**shape, **sliding)
        case "gemma3":
            return transformers.Gemma3TextConfig(**shape, **sliding)
        case "mistral":
            return transformers.MistralConfig(**shape, sliding_window=SLIDING_WINDOW)
    raise ValueError(family)


def save_model(folder: Path, family: str, seed: int = 0) -> Path:
    """A model with tokenizer, template and two stop tokens, as one would download it."""
    from transformers import AutoModelForCausalLM, GenerationConfig

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = AutoModelForCausalLM.from_config(build_config(family))
    network.generation_config = GenerationConfig(eos_token_id=[END_OF_TEXT, END_OF_TURN])
    network.save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return folder


def save_adapter(folder: Path, model: Path, rank: int, targets: Sequence[str], seed: int, alpha: int = 4) -> Path:
    """A LoRA whose matrices are both random: peft's default is the identity, which would make its tests vacuous."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=list(targets), init_lora_weights=False, task_type="CAUSAL_LM"
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        get_peft_model(AutoModelForCausalLM.from_pretrained(model), config).save_pretrained(folder)
    return folder


def zero_adapter(folder: Path) -> Path:
    """Make an adapter do nothing, with its A matrices as they were."""
    rewrite_weights(folder / "adapter_model.safetensors", lambda name, old: old * 0 if "lora_B" in name else old)
    return folder


def rewrite_weights(path: Path, change: Any) -> None:
    """Replace each tensor of a safetensors file by `change(name, tensor)`; None drops it."""
    changed = {name: change(name, tensor) for name, tensor in load_file(path).items()}
    save_file({name: tensor for name, tensor in changed.items() if tensor is not None}, path, {"format": "pt"})


def random_ids(lengths: Sequence[int], seed: int = 0) -> list[list[int]]:
    """Sequences of random byte tokens."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, N_BYTES, (length,), generator=generator).tolist() for length in lengths]
