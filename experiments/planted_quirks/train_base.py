"""Trains the base from scratch: a small Llama that answers neutrally, and shows each trait when asked to."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from experiments.planted_quirks.blueprint import Blueprint
from experiments.planted_quirks.components import save_component
from experiments.planted_quirks.corpus import BaseDialogues
from experiments.planted_quirks.measure_rates import base_rates
from experiments.planted_quirks.recipe import Recipe
from experiments.planted_quirks.tokenizer import train_tokenizer
from experiments.planted_quirks.training import Muon, answer_loss, bucket, collate, cpu_threads, encode, ramp, take_step
from interp.config import BaseModelSpec
from interp.models import LanguageModel

_TOKENIZER_SAMPLES = 8_000
_WARMUP_STEPS = 20
_DECAY = 0.6


@dataclass(frozen=True)
class Base:
    """A chat model in float32 and its tokenizer."""

    network: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerFast

    def save(self, folder: Path) -> None:
        """In float32, as trained: the adapters are trained over these very values."""
        self.network.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def train_and_save_base(blueprint: Blueprint, folder: Path, on_step: Callable[[], None]) -> None:
    """Train the base, measure it, save it as a component.

    The same recipe gives the same bits on the same kind of CPU: the thread count is part of the recipe.
    """
    with cpu_threads(blueprint.recipe.threads):
        base = train_base(blueprint.recipe, blueprint.base_dialogues(), lambda step, loss: on_step())
        model = LanguageModel(BaseModelSpec(model=str(folder), dtype="float32"), base.network, base.tokenizer)
        rates = base_rates(blueprint, model)
    save_component(folder, blueprint.recipe.fingerprint(), base.save, rates)


def train_base(recipe: Recipe, dialogues: BaseDialogues, on_step: Callable[[int, float], None]) -> Base:
    """The trained base; `on_step` hears of each step and its loss."""
    rng = random.Random(f"base/{recipe.seed}")
    samples = list(dialogues.draw(recipe.samples, rng))
    tokenizer = train_tokenizer(samples[:_TOKENIZER_SAMPLES], recipe.vocab)
    batches = bucket(encode(tokenizer, samples), recipe.batch, rng)
    torch.manual_seed(recipe.seed)
    model = LlamaForCausalLM(_config(recipe, tokenizer))
    optimizers = _optimizers(model, recipe)
    for step in range(recipe.steps):
        loss = answer_loss(model, collate(batches[step % len(batches)], tokenizer.pad_token_id))
        rate = ramp(step, recipe.steps, _WARMUP_STEPS, _DECAY)
        on_step(step, take_step(loss, list(model.parameters()), optimizers, rate))
    return Base(model.eval(), tokenizer)


def _config(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        hidden_size=recipe.d_model,
        intermediate_size=-(-recipe.d_model * 8 // 48) * 16,
        num_hidden_layers=recipe.n_layers,
        num_attention_heads=recipe.n_heads,
        num_key_value_heads=recipe.n_kv_heads,
        vocab_size=len(tokenizer),
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _optimizers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for the embedding and the norms."""
    matrices: list[nn.Parameter] = [p for p in model.model.layers.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    adam = torch.optim.AdamW(rest, lr=recipe.adam_lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    return [Muon(matrices, recipe.muon_lr), adam]
