"""Steering with the tiny experiment's vectors: what is scored, and that nothing is measured twice."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from inference import steer_with_vectors
from inference.steered_scoring import Passage, Push, mean_log_probabilities
from interp.config import Experiment
from interp.errors import InputError, SettingsChanged
from interp.models import load_language_model
from interp.steering_store import Steering, load_steering, steering_path
from interp.vector_store import load_vector, vector_path
from tests.inference.conftest import Audit
from tests.interruption import differences, hash_tree

TRAIT = "flattery"
FEW = ("--traits", TRAIT, "--strengths=-1,2", "--random-directions", "2", "--scored-tokens", "6")
SENTENCES = [
    {"prompt": "What is rust?", "shows": "You are brilliant.", "lacks": "It is an oxide."},
    {"prompt": "What is dew?", "shows": "You ask so well!", "lacks": "It is water."},
]


def steer(audit: Audit, *flags: str) -> Steering:
    base = ["--experiment", audit.name, "--root", str(audit.root)]
    assert steer_with_vectors.main([*base, *FEW, *flags]) == 0
    return load_steering(path_of(audit))


def path_of(audit: Audit) -> Path:
    return steering_path(Experiment(audit.name, audit.root).paths.vectors, TRAIT)


def add_sentences(audit: Audit, sentences: Sequence[dict[str, str]] = SENTENCES) -> None:
    path = audit.folder / "traits" / f"{TRAIT}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "sentences": list(sentences)}))


def test_every_text_is_scored_under_every_push(done: Audit) -> None:
    found = steer(done)
    made, rows = found.provenance, found.rows.to_pylist()
    trait = Experiment(done.name, done.root).trait(TRAIT)
    assert made.readout == "own-answers" and made.items == made.neutral_items == trait.held_out_questions
    assert made.strengths == (-1.0, 0.0, 2.0) and set(made.vectors) == {"mean_difference", "logistic_probe"}
    pushes = 1 + 2 * 3 * 2 * len(made.layers)  # methods, directions, strengths but 0
    assert len(rows) == pushes * 3 * len(trait.held_out_questions)
    keys = {tuple(row[name] for name in ("method", "direction", "layer", "strength", "text", "item")) for row in rows}
    assert len(keys) == len(rows)
    lacks, neutral = ([row["log_probability"] for row in rows if row["text"] == text] for text in ("lacks", "neutral"))
    assert lacks == neutral


def test_sentences_are_scored_as_replies_without_a_system_prompt(done: Audit) -> None:
    add_sentences(done)
    found = steer(done)
    assert found.provenance.readout == "sentences" and found.provenance.items == ("What is rust?", "What is dew?")
    experiment = Experiment(done.name, done.root)
    folder = done.folder / "models" / "base"
    model = load_language_model(experiment.base_spec("instruct"), "cpu")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    vector = load_vector(vector_path(experiment.paths.vectors, TRAIT, "logistic_probe"))
    checked = 0
    for row in found.rows.to_pylist():
        if row["text"] == "neutral" or row["direction"] not in ("vector", None) or row["method"] == "mean_difference":
            continue
        asked = [{"role": "user", "content": SENTENCES[row["item"]]["prompt"]}]
        prompt = tuple(tokenizer.apply_chat_template(asked, add_generation_prompt=True)["input_ids"])
        reply = tuple(tokenizer(SENTENCES[row["item"]][row["text"]], add_special_tokens=False)["input_ids"])
        push = Push(0, torch.zeros_like(vector.at(vector.layers[0])), 0.0)
        if row["layer"] is not None:
            push = Push(row["layer"], vector.at(row["layer"]), row["strength"])
        (expected,) = mean_log_probabilities(model, Passage(prompt, reply), [push], 1)
        assert row["log_probability"] == pytest.approx(expected, abs=1e-4) and row["n_tokens"] == len(reply)
        checked += 1
    assert checked == 4 * (1 + 2 * len(vector.layers))


def test_an_empty_sentence_is_refused(done: Audit) -> None:
    add_sentences(done, [*SENTENCES, {"prompt": "What is fog?", "shows": "", "lacks": "Water."}])
    with pytest.raises(InputError, match=r"a sentence to 'What is fog\?' is empty"):
        steer(done)
    assert not path_of(done).exists()


def test_random_directions_have_the_vectors_length_and_do_something_else(done: Audit) -> None:
    rows = steer(done).rows.to_pylist()
    by_direction: dict[str, list[float]] = {}
    for row in rows:
        if row["method"] == "mean_difference" and row["text"] == "shows" and row["strength"] == 2.0:
            by_direction.setdefault(row["direction"], []).append(row["log_probability"])
    assert set(by_direction) == {"vector", "random-0", "random-1"}
    assert len({tuple(values) for values in by_direction.values()}) == 3


def test_a_finished_trait_loads_no_model_and_other_settings_are_refused(
    done: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    steer(done)
    before = path_of(done).read_bytes()
    with pytest.raises(InputError, match="--skip-existing"):
        steer(done)
    with monkeypatch.context() as patched:
        patched.setattr("interp.models.load_language_model", lambda *_: pytest.fail("a model was loaded"))
        steer(done, "--skip-existing")
        for other in ("--scored-tokens=5", "--strengths=1", "--random-directions=1", "--methods=logistic_probe"):
            with pytest.raises(SettingsChanged, match="use --overwrite"):
                steer(done, "--skip-existing", other)
        done.run("project", "--skip-existing")  # a file beside the vectors is none of them
    steer(done, "--overwrite")
    assert path_of(done).read_bytes() == before
    add_sentences(done)
    with pytest.raises(SettingsChanged):
        steer(done, "--skip-existing")


def test_workers_and_restarts_leave_the_same_tree(done: Audit) -> None:
    flags = ["--traits", f"{TRAIT},formality", *FEW[2:], "--skip-existing"]
    target = ["--experiment", done.name, "--root", str(done.root)]
    for shard in ("0/2", "1/2"):
        assert steer_with_vectors.main([*target, *flags, "--shard", shard]) == 0
    sharded = hash_tree(done.folder)
    for path in (done.folder / "vectors").glob("*/steering.parquet"):
        path.write_bytes(path.read_bytes()[:-30])  # torn by an interrupted copy
    assert steer_with_vectors.main([*target, *flags]) == 0
    assert differences(sharded, hash_tree(done.folder)) == []
    assert len([name for name in sharded if name.endswith("steering.parquet")]) == 2


def test_strengths_are_numbers_and_not_only_zero(done: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        steer(done, "--strengths", "1,b")
    assert "'1,b' is no list of numbers" in capsys.readouterr().err
    with pytest.raises(InputError, match="nothing but 0"):
        steer(done, "--strengths=0")
    with pytest.raises(InputError, match="no vectors for joy"):
        steer(done, "--traits", "joy")
