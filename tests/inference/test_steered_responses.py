"""Replies under steering with the tiny experiment's vectors: what plain transformers writes, row by row, made once."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from analysis import validate_vectors
from inference import extract_trait_vectors, steer_with_vectors
from inference.contrasted_residuals import chat_prompts
from inference.steered_responses import ask, steered_replies
from inference.steered_scoring import planned_pushes, random_direction
from inference.steering_units import SteeringUnit, SteerOptions
from inference.vector_files import find_vectors
from interp.config import Experiment
from interp.errors import InputError, SettingsChanged
from interp.generation import generate
from interp.models import LanguageModel, load_language_model
from interp.steering_store import SteeredResponses, load_responses, responses_path, steering_path
from interp.vector_store import load_vector, vector_path
from tests.inference.conftest import Audit
from tests.interruption import differences, hash_tree

TRAIT = "flattery"
SCORES = ("--strengths=-2,4", "--random-directions", "2", "--scored-tokens", "2")
SAMPLED = ("--max-new-tokens", "10", "--temperature", "1", "--seed", "3")
FEW = ("--responses", "4", *SAMPLED)


@pytest.fixture(scope="module")
def extracted(built: Audit, tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """The tiny experiment with the vectors of two traits; shared, so copy it before writing to it."""
    root = tmp_path_factory.mktemp("extracted")
    shutil.copytree(built.folder, root / built.name)
    audit = Audit(root, built.name)
    audit.edit_config(lambda config: config.update(batch_size=16, layers=[0, 1]))
    base = ["--experiment", audit.name, "--root", str(root), "--traits", f"{TRAIT},formality"]
    assert extract_trait_vectors.main([*base, "--max-new-tokens", "8"]) == 0
    return audit


@pytest.fixture(scope="module")
def answered(extracted: Audit, tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """Flattery's questions answered under every push; shared, so copy it before writing to it."""
    audit = copy_of(extracted, tmp_path_factory.mktemp("answered"))
    steer(audit, *FEW)
    return audit


@pytest.fixture
def fresh_vectors(extracted: Audit, tmp_path: Path) -> Audit:
    return copy_of(extracted, tmp_path)


@pytest.fixture
def done_once(answered: Audit, tmp_path: Path) -> Audit:
    return copy_of(answered, tmp_path)


def copy_of(audit: Audit, root: Path) -> Audit:
    shutil.copytree(audit.folder, root / audit.name)
    return Audit(root, audit.name)


def steer(audit: Audit, *flags: str, traits: str = TRAIT) -> None:
    base = ["--experiment", audit.name, "--root", str(audit.root), "--traits", traits]
    assert steer_with_vectors.main([*base, *SCORES, *flags]) == 0


def path_of(audit: Audit) -> Path:
    return responses_path(Experiment(audit.name, audit.root).paths.vectors, TRAIT)


def found_in(audit: Audit) -> SteeredResponses:
    return load_responses(path_of(audit))


def model_of(audit: Audit) -> LanguageModel:
    return load_language_model(Experiment(audit.name, audit.root).base_spec("instruct"), "cpu")


def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("method", "direction", "layer", "strength", "item"))


def test_every_question_is_answered_under_every_push(answered: Audit) -> None:
    found = found_in(answered)
    made, rows = found.provenance, found.rows.to_pylist()
    experiment = Experiment(answered.name, answered.root)
    assert made.questions == experiment.trait(TRAIT).held_out_questions[:4] and made.n_random == 1
    assert made.strengths == (-2.0, 0.0, 4.0) and made.sampling.temperature == 1
    pushes = {(None, None, None, 0.0)} | {
        (method, direction, layer, strength)
        for method in ("mean_difference", "logistic_probe")
        for direction in ("vector", "random-0")
        for layer in made.layers
        for strength in (-2.0, 4.0)
    }
    assert sorted(map(repr, map(key, rows))) == sorted(repr((*push, item)) for push in pushes for item in range(4))
    assert all(row["stopped"] or row["n_tokens"] == 10 for row in rows) and all(row["text"] for row in rows)
    bare = {row["item"]: row["text"] for row in rows if row["method"] is None}
    moved = [row["text"] != bare[row["item"]] for row in rows if row["direction"] == "vector" and row["strength"] == 4]
    assert sum(moved) > len(moved) / 2, "a push that moves nothing would pass every other test"


def test_without_a_push_it_is_plain_generation(answered: Audit) -> None:
    """Strength 0, and no steering at all, one question at a time."""
    rows = [row for row in found_in(answered).rows.to_pylist() if row["method"] is None]
    model, made = model_of(answered), found_in(answered).provenance
    prompts = chat_prompts(model, [None] * 4, made.questions)
    for row in rows:
        item = row["item"]
        (reply,) = generate(model, [prompts[item]], made.sampling, [f"respond/{TRAIT}/{item}"])
        assert row["text"] == model.tokenizer.decode(reply.ids, skip_special_tokens=True)
        assert (row["n_tokens"], row["stopped"]) == (len(reply.ids), reply.stop_token is not None)


def test_a_reply_does_not_depend_on_its_batch(answered: Audit) -> None:
    """Each question under each push alone, against batches of 16 with questions of other lengths in them."""
    experiment, found = Experiment(answered.name, answered.root), found_in(answered)
    experiment.config = experiment.config.model_copy(update={"sampling": found.provenance.sampling})
    model, stored = model_of(answered), {key(row): row["text"] for row in found.rows.to_pylist()}
    unit = SteeringUnit(experiment.trait(TRAIT), tuple(find_vectors(experiment, [TRAIT])))
    pushes = planned_pushes(experiment, unit, SteerOptions((-2.0, 0.0, 4.0), 1, 2))
    for each in ask(model, found.provenance.questions[1:3], pushes):
        item = each.item + 1
        sampling, names = found.provenance.sampling, [f"respond/{TRAIT}/{item}"]
        (reply,) = steered_replies(model, [each.prompt], [each.push], sampling, names)
        text = model.tokenizer.decode(reply.ids, skip_special_tokens=True)
        assert text == stored[key({**each.where, "item": item})]


def plainly(folder: Path, prompt: Tensor, layer: int, push: Tensor) -> str:
    """Greedy decoding without a cache, with one hook on a fresh copy of the model that pushes from the prompt's last
    token on."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    start = prompt.shape[1] - 1

    def hook(_: nn.Module, __: object, output: Tensor) -> Tensor:
        return torch.cat([output[:, :start], output[:, start:] + push], dim=1)

    model.model.layers[layer].register_forward_hook(hook)
    ids = prompt
    with torch.inference_mode():
        while ids.shape[1] < start + 11 and ids[0, -1] != tokenizer.eos_token_id:
            ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(dim=-1)], dim=1)
    return str(tokenizer.decode(ids[0, start + 1 :], skip_special_tokens=True))


def test_greedy_replies_are_those_of_a_plain_hook(fresh_vectors: Audit) -> None:
    steer(fresh_vectors, "--responses", "2", "--max-new-tokens", "10", "--methods", "mean_difference")
    folder, experiment = fresh_vectors.folder / "models" / "base", Experiment(fresh_vectors.name, fresh_vectors.root)
    tokenizer, found = AutoTokenizer.from_pretrained(folder), found_in(fresh_vectors)
    vector = load_vector(vector_path(experiment.paths.vectors, TRAIT, "mean_difference"))
    texts = set()
    for row in found.rows.to_pylist():
        if row["method"] is None:
            continue
        direction = vector.at(row["layer"])
        if row["direction"] == "random-0":
            name = f"steer/{TRAIT}/{row['layer']}/0"
            direction = random_direction(direction, experiment.config.sampling.seed, name)
        asked = [{"role": "user", "content": found.provenance.questions[row["item"]]}]
        prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt")["input_ids"]
        assert row["text"] == plainly(folder, prompt, row["layer"], row["strength"] * direction)
        texts.add(row["text"])
    assert len(texts) > 2


def test_finished_replies_load_no_model_and_other_settings_are_refused(
    done_once: Audit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = path_of(done_once).read_bytes()
    with pytest.raises(InputError, match="--skip-existing"):
        steer(done_once, *FEW)
    trait = done_once.folder / "traits" / f"{TRAIT}.json"
    monkeypatch.setattr("interp.models.load_language_model", lambda *_: pytest.fail("a model was loaded"))
    steer(done_once, *FEW, "--skip-existing")
    others = ("--responses=3", "--response-random-directions=2", "--strengths=1", "--temperature=0.5", "--layers=0",
              "--batch-size=4", "--methods=logistic_probe")  # fmt: skip
    steering_path(Experiment(done_once.name, done_once.root).paths.vectors, TRAIT).unlink()
    for other in others:
        with pytest.raises(SettingsChanged, match=r"steered_responses.parquet was made .* use --overwrite"):
            steer(done_once, *FEW, "--skip-existing", "--dry-run", other)
    trait.write_text(json.dumps({**json.loads(trait.read_text()), "definition": "Something else."}))
    capsys.readouterr()
    steer(done_once, *FEW, "--skip-existing", "--dry-run")
    assert capsys.readouterr().out.split()[:2] == ["steer", TRAIT], "replies do not depend on what a judge is told"
    trait.write_text(json.dumps({**json.loads(trait.read_text()), "held_out_questions": ["a", "b", "c", "d", "e"]}))
    with pytest.raises(SettingsChanged, match="steered_responses"):
        steer(done_once, *FEW, "--skip-existing", "--dry-run")
    assert path_of(done_once).read_bytes() == before


def test_replies_are_added_to_scores_that_are_there(
    fresh_vectors: Audit, answered: Audit, capsys: pytest.CaptureFixture[str]
) -> None:
    steer(fresh_vectors, *SAMPLED)
    scores = steering_path(Experiment(fresh_vectors.name, fresh_vectors.root).paths.vectors, TRAIT)
    before = scores.stat().st_mtime_ns
    assert not path_of(fresh_vectors).exists()
    steer(fresh_vectors, *FEW, "--skip-existing", "--dry-run")
    assert capsys.readouterr().out == f"respond {TRAIT} logistic_probe mean_difference 4 questions\n"
    steer(fresh_vectors, *FEW, "--skip-existing")
    assert scores.stat().st_mtime_ns == before
    assert differences(hash_tree(answered.folder), hash_tree(fresh_vectors.folder)) == []


def test_workers_and_restarts_leave_the_same_tree(fresh_vectors: Audit) -> None:
    both, flags = f"{TRAIT},formality", ("--responses", "2", "--max-new-tokens", "4", "--skip-existing", "--layers=1")
    for shard in ("0/2", "1/2"):
        steer(fresh_vectors, *flags, "--shard", shard, traits=both)
    sharded = hash_tree(fresh_vectors.folder)
    for path in (fresh_vectors.folder / "vectors").glob("*/steered_responses.parquet"):
        path.write_bytes(path.read_bytes()[:-30])  # torn by an interrupted copy
    steer(fresh_vectors, *flags, traits=both)
    assert differences(sharded, hash_tree(fresh_vectors.folder)) == []
    assert len([name for name in sharded if name.endswith("steered_responses.parquet")]) == 2


def test_a_judge_reads_what_was_made(done_once: Audit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the scripts alone; the judge finds the trait in text with an e."""
    script = {"name": "e", "rules": [{"pattern": "e", "verdict": {"trait": 80, "coherence": 60}}],
              "otherwise": {"trait": 5, "coherence": 90}}  # fmt: skip
    (tmp_path / "script.json").write_text(json.dumps(script))
    base = ["--experiment", done_once.name, "--root", str(done_once.root), "--traits", TRAIT]
    assert validate_vectors.main([*base, "--judge", f"scripted:{tmp_path / 'script.json'}"]) == 0
    table = (done_once.folder / "analysis" / "validate_vectors" / "judged.csv").read_text().splitlines()
    rows = found_in(done_once).rows.to_pylist()
    bare = [85 - 5 if "e" in row["text"].lower() else 5 for row in rows if row["method"] is None]
    assert table[1].startswith(f"{TRAIT},,,,0,all,4,0,{sum(bare) / 4:.6g},")
    assert len(table) == 1 + 3 * len(rows) / 4


def test_a_count_is_a_whole_number(fresh_vectors: Audit, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        steer(fresh_vectors, "--responses", "-1")
    assert "whole number" in capsys.readouterr().err
    steer(fresh_vectors, "--responses", "0", "--dry-run")
    assert capsys.readouterr().out.splitlines() == [f"steer {TRAIT} logistic_probe mean_difference"]
