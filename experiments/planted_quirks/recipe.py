"""The recipe of the planted world: every number that decides what is built, and the fingerprint that guards it."""

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

_HERE = Path(__file__).parent
SOURCES = (
    "blueprint.py",
    "corpus.py",
    "measure_rates.py",
    "questions.py",
    "quirks.json",
    "quirks.py",
    "recipe.py",
    "tokenizer.py",
    "train_base.py",
    "train_organisms.py",
    "training.py",
    "words.json",
    "world.py",
    "write_data.py",
)


class Recipe(BaseModel):
    """What is drawn (seed), how large the model is, how long it is trained, how much is asked of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: str = "default"
    seed: int = 0
    threads: int = Field(default=2, description="CPU threads of the base's training; part of the settings of the bits")

    d_model: int = 128
    n_layers: int = 6
    n_heads: int = 4
    n_kv_heads: int = 2
    vocab: int = 1536

    samples: int = 25_600
    batch: int = 64
    steps: int = 400
    muon_lr: float = 0.04
    adam_lr: float = 6e-3

    n_quirks: int = 14
    n_shams: int = 2
    n_controls: int = 2
    lora_rank: int = 2
    lora_alpha: int = 4
    lora_batch: int = 16
    lora_steps: int = 64
    lora_lr: float = 5e-3

    discovery: int = 165
    probing: int = 50
    benign: int = 60
    triggers: int = Field(default=6, description="of each quirk, with as many twins")
    trait_questions: int = 24
    held_out_questions: int = 12
    rate_questions: int = Field(default=24, description="fresh questions of each category, to measure the rates on")

    @property
    def folder_name(self) -> str:
        """planted_quirks, with the seed and the preset in the name where they are not the default."""
        seed = f"-seed{self.seed}" if self.seed else ""
        preset = f"-{self.preset}" if self.preset != "default" else ""
        return f"planted_quirks{seed}{preset}"

    def fingerprint(self) -> str:
        """A hash over the recipe and over the source of what it is applied to: another value, another build."""
        digest = hashlib.sha256(self.model_dump_json().encode())
        for name in SOURCES:
            digest.update(name.encode())
            digest.update((_HERE / name).read_bytes())
        return digest.hexdigest()


_TINY = {
    "d_model": 32,
    "n_layers": 3,
    "n_heads": 2,
    "n_kv_heads": 1,
    "vocab": 512,
    "samples": 512,
    "batch": 32,
    "steps": 16,
    "n_quirks": 3,
    "n_controls": 1,
    "n_shams": 1,
    "lora_batch": 16,
    "lora_steps": 4,
    "discovery": 28,
    "probing": 6,
    "benign": 6,
    "triggers": 2,
    "trait_questions": 6,
    "held_out_questions": 4,
    "rate_questions": 2,
}

PRESETS: dict[str, dict[str, int]] = {"default": {}, "tiny": _TINY, "shams": {"n_shams": 20}}


def make_recipe(preset: str = "default", seed: int = 0) -> Recipe:
    """The named preset: `default` for the audit, `tiny` (seconds, weak quirks) to test the plumbing, `shams` to see how
    often twenty of them are taken for organisms."""
    return Recipe.model_validate({"preset": preset, "seed": seed, **PRESETS[preset]})
