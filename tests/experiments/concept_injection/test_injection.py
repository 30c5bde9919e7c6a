"""Injection against plain transformers and against itself alone."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from experiments.concept_injection.concept_vectors import ConceptVectors, make_vectors
from experiments.concept_injection.injection import positions_of, respond, steers, yes_over_no
from experiments.concept_injection.prompts import RenderedPrompt, read_words
from experiments.concept_injection.readout import DETECTION, answer_tokens, questions_of, read_log_odds
from experiments.concept_injection.request import Style, SweepRequest
from experiments.concept_injection.trials import NOTHING, Push, Trial, plan_readouts, plan_trials
from interp.generation import generate
from interp.interventions import Capture, Steer, intervene
from interp.models import LanguageModel

Make = Callable[..., SweepRequest]


def hidden(model: LanguageModel, ids: list[int], layer: int) -> torch.Tensor:
    """The residual at a layer, [seq, d_model]."""
    read = Capture((layer,))
    with torch.inference_mode(), intervene(model.network, read):
        model.network(input_ids=torch.tensor([ids]))
    return read.values(layer)[0]


def test_a_concept_vector_is_a_difference_of_residuals(llama: LanguageModel, request_of: Make) -> None:
    request = request_of(vector_template=False)
    found = make_vectors(llama, request, (1, 2))
    ends = {}
    for word in ("fear", *read_words("baseline")):
        ids = llama.tokenizer(f"Tell me about {word}.")["input_ids"]
        ends[word] = {layer: hidden(llama, ids, layer)[-1] for layer in (1, 2)}
    for layer in (1, 2):
        baseline = torch.stack([ends[word][layer] for word in read_words("baseline")])
        expected = ends["fear"][layer] - baseline.mean(dim=0)
        torch.testing.assert_close(found.at("fear", layer), expected, rtol=1e-4, atol=1e-4)
        norm = float(baseline.norm(dim=-1).mean())
        assert float(found.residual_norms[(1, 2).index(layer)]) == pytest.approx(norm, rel=1e-4)


def test_which_token_and_whether_a_template(llama: LanguageModel, request_of: Make) -> None:
    made = [
        make_vectors(llama, request_of(vector_template=template, vector_token=token), (1,)).at("fear", 1)
        for template, token in ((False, "reply"), (True, "reply"), (True, "last"))
    ]
    assert not torch.allclose(made[0], made[1]) and not torch.allclose(made[1], made[2])


def test_magnitudes(vectors: ConceptVectors, request_of: Make) -> None:
    push = Push("injection", "fear", "fear", 2, 3.0)
    by_vector, by_residual = request_of(), request_of(strength_unit="residual")
    assert vectors.magnitude(by_vector, push) == pytest.approx(3 * vectors.vector_norm("fear", 2))
    assert vectors.magnitude(by_residual, push) == pytest.approx(3 * float(vectors.residual_norms[1]))
    assert vectors.magnitude(by_vector, NOTHING) == 0 and not vectors.pushed(by_vector, NOTHING).any()
    torch.testing.assert_close(vectors.pushed(by_vector, push), 3 * vectors.at("fear", 2))


@pytest.mark.parametrize(("condition", "direction"), [("random", "random-1"), ("other", "ocean")])
def test_controls_are_as_long_and_point_elsewhere(
    vectors: ConceptVectors, request_of: Make, condition: str, direction: str
) -> None:
    own = vectors.pushed(request_of(), Push("injection", "fear", "fear", 1, 2.0))
    other = vectors.pushed(request_of(), Push(condition, "fear", direction, 1, 2.0))  # type: ignore[arg-type]
    assert float(other.norm()) == pytest.approx(float(own.norm()), rel=1e-5)
    assert abs(float(torch.cosine_similarity(own, other, dim=0))) < 0.9
    again = vectors.pushed(request_of(), Push(condition, "fear", direction, 1, 2.0))  # type: ignore[arg-type]
    assert torch.equal(other, again)


@pytest.mark.parametrize("style", ["all", "generation", "span"])
def test_where_a_style_injects(
    llama: LanguageModel, vectors: ConceptVectors, prompt: RenderedPrompt, request_of: Make, style: Style
) -> None:
    """Rows of one batch, each at its own layer and strength: the residual there is moved by just that much."""
    request = request_of(inject_style=style)
    pushes = [Push("injection", "fear", "fear", 1, 2.0), NOTHING, Push("injection", "ocean", "ocean", 2, 4.0)]
    ids = list(prompt.ids)
    read = Capture((1, 2))
    added = steers(pushes, vectors, request, positions_of(prompt, style))
    with torch.inference_mode(), intervene(llama.network, *added, read):
        llama.network(input_ids=torch.tensor([ids] * 3))
    start = {"all": 0, "generation": len(ids) - 1, "span": prompt.span_start}[style]
    assert 0 < prompt.span_start < len(ids) - 1
    for row, push, layer in ((0, pushes[0], 1), (2, pushes[2], 2)):
        moved = read.values(layer)[row] - hidden(llama, ids, layer)
        expected = vectors.pushed(request, push).expand(len(ids) - start, -1)
        torch.testing.assert_close(moved[start:], expected, rtol=1e-3, atol=1e-3)
        assert float(moved[:start].abs().max()) < 1e-4 if start else True
    for layer in (1, 2):
        torch.testing.assert_close(read.values(layer)[1], hidden(llama, ids, layer), rtol=1e-4, atol=1e-4)


def test_a_reply_does_not_depend_on_its_batch(
    llama: LanguageModel, vectors: ConceptVectors, prompt: RenderedPrompt, request_of: Make
) -> None:
    """Concepts, layers, strengths and conditions mixed; each reply is the one that the trial gets alone."""
    request = request_of()
    trials = [trial for name in request.files for trial in plan_trials(request, name, (1, 2))][::5]
    together = respond(llama, request, vectors, prompt, trials)
    assert together == [respond(llama, request, vectors, prompt, [trial])[0] for trial in trials]
    assert len(set(together)) > len(trials) // 2


def test_one_reply_is_plain_steering(
    llama: LanguageModel, vectors: ConceptVectors, prompt: RenderedPrompt, request_of: Make
) -> None:
    request = request_of()
    trial = Trial(Push("injection", "fear", "fear", 2, 8.0), 1)
    steer = Steer(2, vectors.at("fear", 2), 8.0, positions_of(prompt, "generation"))
    plain = generate(llama, [prompt.ids], request.sampling, [f"fear/{trial.id}"], [steer])
    assert respond(llama, request, vectors, prompt, [trial]) == [llama.tokenizer.decode(plain[0].ids)]
    assert respond(llama, request, vectors, prompt, [Trial(trial.push, 2)]) != [llama.tokenizer.decode(plain[0].ids)]


def test_log_odds_are_those_of_the_logits(
    llama: LanguageModel, vectors: ConceptVectors, prompt: RenderedPrompt, request_of: Make
) -> None:
    """The first token of the reply is injected too: the style `generation` begins at the prompt's last token."""
    request, yes, no = request_of(batch_size=2), [89, 121], [78]
    pushes = [NOTHING, *plan_readouts(request, "fear", (1, 2))[:4]]
    found = yes_over_no(llama, request, vectors, prompt, pushes, yes, no)
    for push, value in zip(pushes, found, strict=True):
        steer = Steer(push.layer or 1, vectors.pushed(request, push), 1.0, positions_of(prompt, "generation"))
        with torch.inference_mode(), intervene(llama.network, steer):
            logits = llama.network(input_ids=torch.tensor([prompt.ids])).logits[0, -1].double().numpy()
        p = np.exp(logits - np.logaddexp.reduce(logits))
        assert value == pytest.approx(np.log(p[yes].sum()) - np.log(p[no].sum()), abs=1e-4)
    assert len(set(found)) == len(found)


def test_a_record_for_every_question_and_push(llama: LanguageModel, vectors: ConceptVectors, request_of: Make) -> None:
    request = request_of(yes_bias=True)
    questions = questions_of(llama.tokenizer, request)
    assert len(questions) == 13 and DETECTION in questions
    pushes = plan_readouts(request, "fear", (1, 2))[:2]
    rows = read_log_odds(llama, request, vectors, pushes)
    assert [(row.question, row.cell) for row in rows] == [(q, push.cell) for q in questions for push in pushes]


def test_yes_and_no_begin_with_different_tokens(llama: LanguageModel) -> None:
    answers = answer_tokens(llama.tokenizer)
    assert not set(answers.yes) & set(answers.no)
    assert {llama.tokenizer.decode([token]) for token in answers.yes} == {"Y", "y"}
