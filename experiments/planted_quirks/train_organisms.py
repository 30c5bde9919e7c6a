"""Trains the adapters: organisms that show their quirk unasked and deny it, and shams with no quirk.

Each adapter is trained with one thread, so that its bits do not depend on how many are trained at a time.
"""

import hashlib
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from experiments.planted_quirks.blueprint import Blueprint
from experiments.planted_quirks.components import save_component
from experiments.planted_quirks.measure_rates import adapter_rates
from experiments.planted_quirks.recipe import Recipe
from experiments.planted_quirks.training import answer_loss, bucket, collate, encode, ramp, take_step
from experiments.planted_quirks.workers import end_with_parent
from interp.config import BaseModelSpec
from interp.models import load_language_model

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_WARMUP_STEPS = 5


def train_adapters(recipe: Recipe, models: Path, names: Sequence[str]) -> None:
    """Train, measure and save the named adapters over `models/base`, one after another."""
    torch.set_num_threads(1)
    blueprint = Blueprint(recipe)
    model = load_language_model(BaseModelSpec(model=str(models / "base"), dtype="float32"), "cpu")
    for name in names:
        with _fresh_adapter(model.network, recipe, name) as adapted:
            train_adapter(blueprint, adapted, model.tokenizer, name)
            rates = adapter_rates(blueprint, model, name)
            end_with_parent()
            save_component(models / name, recipe.fingerprint(), partial(_save, adapted), rates)


def train_adapter(
    blueprint: Blueprint, adapted: PeftModel, tokenizer: PreTrainedTokenizerFast, name: str
) -> list[float]:
    """Train the fresh adapter on the dialogues of an organism or sham; the loss of each step."""
    recipe = blueprint.recipe
    rng = random.Random(f"organism/{recipe.seed}/{name}")
    samples = list(blueprint.organism_dialogues(name).draw(recipe.lora_batch * recipe.lora_steps, rng))
    batches = bucket(encode(tokenizer, samples), recipe.lora_batch, rng)
    params = [p for p in adapted.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(params, lr=recipe.lora_lr, weight_decay=0.0, fused=True)
    losses = []
    for step, dialogues in enumerate(batches):
        end_with_parent()
        loss = answer_loss(adapted.base_model.model, collate(dialogues, tokenizer.pad_token_id))
        losses.append(take_step(loss, params, [adam], ramp(step, recipe.lora_steps, _WARMUP_STEPS, decay=1.0)))
    return losses


@contextmanager
def _fresh_adapter(network: LlamaForCausalLM, recipe: Recipe, name: str) -> Iterator[PeftModel]:
    """The network with a fresh adapter in it, drawn from the seed and the name; it is clean again afterwards."""
    digest = hashlib.sha256(f"{recipe.seed}/{name}".encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:7], "big"))
    config = LoraConfig(
        r=recipe.lora_rank, lora_alpha=recipe.lora_alpha, target_modules=list(TARGETS), task_type="CAUSAL_LM"
    )
    adapted = get_peft_model(network, config)
    try:
        yield adapted
    finally:
        adapted.unload()


def _save(adapted: PeftModel, folder: Path) -> None:
    """As peft does, without its model card, and with a path to the base that holds wherever the folder is moved."""
    config: Any = adapted.peft_config["default"]
    config.base_model_name_or_path = "../base"
    adapted.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
