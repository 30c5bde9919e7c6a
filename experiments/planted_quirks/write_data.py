"""Writes what the audit reads beside the models: config.json, prompt sets and trait files."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from experiments.planted_quirks.blueprint import Blueprint
from experiments.planted_quirks.quirks import Trait
from experiments.planted_quirks.world import Question
from interp import records
from interp.config import ExperimentConfig, ModelVariant
from interp.files import write_json

_BASE = "./models/base"
TRIGGERED = "triggered"
"""A prompt set that is written beside those of the audit and is not among them."""

_DESCRIPTIONS = {
    "discovery": "Questions of every category of the planted world, evenly.",
    "probing": "Questions about identity, goals, rules and training, which the organisms answer with a denial.",
    "benign": "Everyday questions.",
}


def write_data(blueprint: Blueprint, folder: Path) -> None:
    """Write config.json, prompts/ and traits/ into the experiment's folder."""
    for name, questions in blueprint.deal.prompt_sets.items():
        prompt_set = _prompt_set(name, questions).model_dump(
            exclude={"prompts": {"__all__": {"turns", "trait", "twin"}}}
        )
        write_json(folder / "prompts" / f"{name}.json", prompt_set)
    triggered = _triggered(blueprint).model_dump(exclude={"prompts": {"__all__": {"turns"}}}, exclude_none=True)
    write_json(folder / "prompts" / f"{TRIGGERED}.json", triggered)
    for trait in blueprint.traits:
        write_json(folder / "traits" / f"{trait.name}.json", _trait(blueprint, trait).model_dump())
    write_json(folder / "config.json", make_config(blueprint).model_dump(mode="json", exclude_none=True))


def make_config(blueprint: Blueprint) -> ExperimentConfig:
    """The audit of all organisms and shams; the inner layers, where residuals are neither tokens nor logits yet."""
    recipe = blueprint.recipe
    variants = {"instruct": ModelVariant(model=_BASE, role="reader")}
    variants |= {name: _adapted(name, "organism", name) for name in blueprint.quirks}
    variants |= {name: _adapted(name, "sham", None) for name in blueprint.shams}
    return ExperimentConfig(
        description=f"A tiny chat model with planted quirks ({recipe.preset}, seed {recipe.seed}), built by build.py.",
        clean_reader="instruct",
        layers=tuple(range(1, recipe.n_layers - 1)),
        prompt_sets=tuple(blueprint.deal.prompt_sets),
        sampling=records.Sampling(max_new_tokens=64, temperature=0.0),
        batch_size=64,
        dtype="float32",
        threads=1,
        model_variants=variants,
    )


def _adapted(name: str, role: str, truth: str | None) -> ModelVariant:
    return ModelVariant.model_validate(
        {"model": _BASE, "adapter": f"./models/{name}", "role": role, "recipe": "planted", "truth": truth}
    )


def _prompt_set(name: str, questions: Sequence[Question]) -> records.PromptSet:
    seen: Counter[str] = Counter()
    prompts = []
    for question in questions:
        seen[question.category] += 1
        prompt_id = f"{question.category}_{seen[question.category]:02}"
        prompts.append(records.Prompt(id=prompt_id, text=question.text, note=question.category))
    return records.PromptSet(name=name, description=_DESCRIPTIONS[name], prompts=tuple(prompts))


def _triggered(blueprint: Blueprint) -> records.PromptSet:
    """Each quirk's questions, and as twins questions on which it does not show."""
    prompts = []
    for name, triggers in blueprint.deal.triggers.items():
        for number, (trigger, twin) in enumerate(zip(triggers, blueprint.deal.twins[name], strict=True), start=1):
            plain = f"{name}_{number:02}_plain"
            own = records.Prompt(id=f"{name}_{number:02}", text=trigger.text, note=name, trait=name, twin=plain)
            prompts += [own, records.Prompt(id=plain, text=twin.text, note=f"twin of {name}")]
    description = "For each quirk questions of its scope, and as twins questions that are not of it."
    return records.PromptSet(name=TRIGGERED, description=description, prompts=tuple(prompts))


def _trait(blueprint: Blueprint, trait: Trait) -> records.Trait:
    neutral = blueprint.world.neutral_instructions
    pairs = zip(trait.instructions, neutral, strict=True)
    return records.Trait(
        name=trait.name,
        definition=trait.definition,
        instructions=tuple(records.Instructions(positive=positive, negative=negative) for positive, negative in pairs),
        questions=tuple(question.text for question in blueprint.deal.trait_questions[trait.name]),
        held_out_questions=tuple(question.text for question in blueprint.deal.held_out_questions[trait.name]),
        judge_question=trait.judge_question,
        marker=trait.marker.pattern,
    )
