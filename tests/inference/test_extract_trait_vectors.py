"""Vectors of every method and position: what plain transformers says, and nothing made again for no reason."""

import json
import logging
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from inference import contrasted_residuals
from inference.contrasted_residuals import ReadPositions, answered, contrast_residuals
from inference.devices import load_clean_reader
from inference.extract_trait_vectors import ALL_METHOD_NAMES, METHOD_NAMES, ExtractOptions, identity
from inference.units import model_settings
from interp.chat import template_settings
from interp.config import Experiment
from interp.errors import InputError, SettingsChanged
from interp.manifest import fingerprint
from interp.stats import auroc
from interp.vector_store import load_vector, vector_path
from interp.vectors import METHODS, TraitVector
from tests.inference.conftest import Audit

TRAIT = "flattery"


def extracted(audit: Audit, name: str) -> TraitVector:
    return load_vector(vector_path(Experiment(audit.name, audit.root).paths.vectors, TRAIT, name))


def plain_states(audit: Audit, side: str, questions: tuple[str, ...], first_tokens: int) -> list[Tensor]:
    """Hidden states `[layers, d_model]` of each question under its system prompt: the mean over the first tokens of the
    eliciting side's greedy reply, one at a time; with none, those of the last token of the prompt."""
    folder = audit.folder / "models" / "base"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    trait = Experiment(audit.name, audit.root).trait(TRAIT)
    found = []
    for index, question in enumerate(questions):
        pair = trait.instructions[index % len(trait.instructions)]
        prompts = {
            name: tokenizer.apply_chat_template(
                [{"role": "system", "content": getattr(pair, name)}, {"role": "user", "content": question}],
                add_generation_prompt=True, return_tensors="pt",
            )["input_ids"]
            for name in ("positive", "negative")
        }  # fmt: skip
        ids = prompts[side]
        with torch.inference_mode():
            if first_tokens:
                reply = model.generate(
                    prompts["positive"], attention_mask=torch.ones_like(prompts["positive"]), do_sample=False,
                    max_new_tokens=first_tokens, pad_token_id=0,
                )[:, prompts["positive"].shape[1] :]  # fmt: skip
                stops = (reply[0] == tokenizer.eos_token_id).nonzero()
                ids = torch.cat([ids, reply[:, : stops[0, 0] if len(stops) else None]], dim=1)
            states = model(ids, output_hidden_states=True).hidden_states[1:-1]
        start = prompts[side].shape[1] - (0 if first_tokens else 1)
        found.append(torch.stack([state[0, start:].mean(dim=0) for state in states]))
    return found


@pytest.mark.parametrize(
    ("flags", "name", "first_tokens"),
    [
        (["--positions", "last-prompt"], "mean_difference-last-prompt", 0),
        (["--positions", "first-k", "--first-tokens", "2"], "mean_difference-first-2", 2),
    ],
)
def test_positions_are_those_of_plain_transformers(
    fresh: Audit, flags: list[str], name: str, first_tokens: int
) -> None:
    fresh.run("extract", "--traits", TRAIT, "--methods", "mean_difference", *flags)
    vector, trait = extracted(fresh, name), Experiment(fresh.name, fresh.root).trait(TRAIT)
    assert (vector.provenance.method, vector.provenance.positions) == (name, name.removeprefix("mean_difference-"))
    positive = torch.stack(plain_states(fresh, "positive", trait.questions, first_tokens))
    negative = torch.stack(plain_states(fresh, "negative", trait.questions, first_tokens))
    held_out = torch.stack(plain_states(fresh, "positive", trait.held_out_questions, first_tokens))
    seen = [place for place, layer in enumerate(vector.layers) if layer < positive.shape[1]]
    assert seen
    for place in seen:
        layer = vector.layers[place]
        expected = (positive - negative)[:, layer].mean(dim=0)
        torch.testing.assert_close(vector.directions[place], expected, rtol=1e-3, atol=1e-4)
        scores = held_out[:, layer] @ expected / expected.norm()
        torch.testing.assert_close(
            torch.tensor(vector.provenance.held_out_positive[place]), scores, rtol=1e-3, atol=1e-3
        )


def test_nothing_is_generated_where_only_the_prompt_is_read(fresh: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("generated")

    monkeypatch.setattr("interp.generation.generate", refuse)
    fresh.run("extract", "--traits", TRAIT, "--positions", "last-prompt", "--contrast", "own-text")
    with pytest.raises(AssertionError, match="generated"):
        fresh.run("extract", "--traits", TRAIT)


def test_every_method_is_fitted_and_its_separation_is_that_of_its_scores(fresh: Audit) -> None:
    assert tuple(METHODS) == ALL_METHOD_NAMES and ALL_METHOD_NAMES[: len(METHOD_NAMES)] == METHOD_NAMES
    fresh.run("extract", "--traits", TRAIT, "--methods", ",".join(ALL_METHOD_NAMES))
    for method in ALL_METHOD_NAMES:
        made = extracted(fresh, method).provenance
        pairs = zip(made.held_out_positive, made.held_out_negative, strict=True)
        assert made.held_out_auroc == tuple(auroc(np.array(one), np.array(other)) for one, other in pairs)
        assert np.shape(made.held_out_negative) == (len(made.layers), made.n_held_out)
    with pytest.raises(InputError, match=r"unknown method pca; there are: mean_difference, logistic_probe, pca_of"):
        fresh.run("extract", "--methods", "pca")


def test_vectors_of_before_stay_valid(audited: Audit) -> None:
    """What determines default vectors: no positions, sentences or marker are in it, or they would be made again."""
    experiment = Experiment(audited.name, audited.root)
    trait = experiment.trait(TRAIT)
    config = experiment.config
    names = ("name", "definition", "instructions", "questions", "held_out_questions", "judge_question")
    before = fingerprint(
        {
            **model_settings(experiment.base_spec(config.clean_reader), None),
            "trait": {name: trait.model_dump(mode="json")[name] for name in names},
            "contrast": "same-text",
            "sampling": config.sampling.model_dump(),
            "batch_size": config.batch_size,
            "capture_tokens": config.capture_tokens,
            "template": template_settings(),
            "null_directions": "within classes, 16",
        }
    )
    default = ExtractOptions(METHOD_NAMES, "same-text", ReadPositions(first_tokens=3))
    assert identity(experiment, trait, default) == before == extracted(audited, "mean_difference").provenance.identity
    others = [ReadPositions("last-prompt"), ReadPositions("first-k", 3), ReadPositions("first-k", 4)]
    identities = {identity(experiment, trait, ExtractOptions(METHOD_NAMES, "same-text", each)) for each in others}
    assert len(identities | {before}) == 4


def test_sentences_may_be_added_later_and_questions_may_not(done: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    path = done.folder / "traits" / f"{TRAIT}.json"
    trait = json.loads(path.read_text())
    trait["sentences"] = [{"prompt": "What is rust?", "shows": "You ask so well.", "lacks": "It is iron oxide."}]
    path.write_text(json.dumps(trait))
    monkeypatch.setattr("interp.models.load_language_model", lambda *_: pytest.fail("a model was loaded"))
    done.run("extract", "--skip-existing")
    trait["questions"] = trait["questions"][1:]
    path.write_text(json.dumps(trait))
    with pytest.raises(SettingsChanged, match="use --overwrite"):
        done.run("extract", "--skip-existing")


def test_questions_without_an_answer_are_left_out(
    done: Audit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One of them empty: the others' pairs are what they were, and the vector says how many it was fitted to."""
    experiment = Experiment(done.name, done.root)
    trait, model = experiment.trait(TRAIT), load_clean_reader(experiment, "cpu", None)
    whole = contrast_residuals(experiment, trait, trait.questions, "same-text", ReadPositions(), model)
    real = contrasted_residuals.reply

    def reply(*arguments: Any) -> list[tuple[int, ...]]:
        return [() if row == 1 else each for row, each in enumerate(real(*arguments))]

    monkeypatch.setattr(contrasted_residuals, "reply", reply)
    with caplog.at_level(logging.WARNING):
        left = contrast_residuals(experiment, trait, trait.questions, "same-text", ReadPositions(), model)
    n = len(trait.questions)
    assert f"{TRAIT}: 1 of {n} questions got an empty answer and are left out" in caplog.text
    others = [row for row in range(n) if row != 1]
    torch.testing.assert_close(left.positive, whole.positive[others], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(left.negative, whole.negative[others], rtol=1e-4, atol=1e-4)
    done.run("extract", "--overwrite", "--traits", TRAIT)
    made = extracted(done, "mean_difference").provenance
    assert (made.n_pairs, made.n_held_out) == (n - 1, len(trait.held_out_questions) - 1)


def test_too_many_empty_answers_are_refused() -> None:
    assert answered("pep", [(1,), (), (2,)], [(1,), (3,), (2,)]) == [0, 2]
    with pytest.raises(InputError, match="pep: 2 of 3 questions got an empty answer: rephrase them"):
        answered("pep", [(1,), (), (2,)], [(1,), (3,), ()])
