"""The examples of docs/file_formats.md, run as they stand on a small tree of every kind of file."""

import json
import re
from pathlib import Path

import pytest
import torch

from analysis import compare_readers, top_activating_responses, validate_vectors
from interp.activations import Activations
from interp.config import ExperimentConfig
from interp.files import write_bytes, write_json
from interp.manifest import file_hash, guard
from interp.paths import OWN_READER, REPOSITORY
from interp.projections import Column
from interp.records import PromptSet, Trait, parse_record
from interp.steering_store import save_responses, save_steering
from interp.summaries import Summary
from interp.vector_store import vector_path
from tests.analysis.steered import planted_responses, planted_steering
from tests.analysis.synthetic import SETTINGS, Synthetic

PAGE = (REPOSITORY / "docs" / "file_formats.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
CONFIG, PROMPTS, TRAIT = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL))
TRAITS, LAYERS = ("flattery", "pep"), (1, 2)
COLUMNS: tuple[Column, ...] = tuple((trait, "mean_difference", layer) for trait in TRAITS for layer in LAYERS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `experiments/planted_quirks` in it, one response long; config, prompts and trait are the page's."""
    folder = tmp_path_factory.mktemp("page")
    audit = Synthetic(folder / "experiments", "planted_quirks")
    write_json(audit.paths.folder / "config.json", CONFIG)
    write_json(audit.paths.folder / "prompts" / "discovery.json", PROMPTS)
    write_json(audit.paths.folder / "traits" / "flattery.json", TRAIT)
    write_json(audit.paths.folder / "models" / "recipe.json", {"seed": 0})
    audit.write_response("flattery", "discovery", "advice_01", ["How", " fine", "."])
    guard(audit.paths.responses("flattery", "discovery"), {"sampling": {"seed": 0}})
    resid = torch.ones(2, 3, 4, dtype=torch.float16)
    stored = Activations(resid, LAYERS, (0, 1, 2), 0, SETTINGS)
    write_bytes(audit.paths.activations("flattery", "discovery", OWN_READER) / "advice_01.pt", stored.to_bytes())
    pooled = Summary("pooled", torch.ones(2, 4), torch.ones(2, 3), LAYERS, (0, 1, 2), (), SETTINGS)
    write_bytes(folder / "kept" / "advice_01.pt", pooled.to_bytes())
    audit.write_vector("flattery", layers=LAYERS, auroc=(0.9, 1.0))
    scores = {"advice_01": {column: [1.0, 2.0, 3.0] for column in COLUMNS}}
    audit.write_pair("flattery", "discovery", scores, scores)
    vectors = audit.paths.vectors
    hashes = {"mean_difference": file_hash(vector_path(vectors, "flattery", "mean_difference"))}
    save_steering(vectors, planted_steering("flattery", hashes, LAYERS, 4, lambda *_: 1.0))
    save_responses(vectors, planted_responses("flattery", hashes, LAYERS, 4, lambda *_: "How kind of you to ask."))
    for analysis in (compare_readers, top_activating_responses, validate_vectors):
        assert analysis.main(["--experiment", audit.name, "--root", str(audit.root)]) == 0
    return folder


def test_what_you_write_is_what_the_records_take() -> None:
    assert parse_record(ExperimentConfig, CONFIG, "page").clean_reader == "instruct"
    assert parse_record(PromptSet, PROMPTS, "page").prompts[0].id == "advice_01"
    assert parse_record(Trait, TRAIT, "page").name == "flattery"


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 12


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: re.sub(r"\W+", "_", example.splitlines()[-1])[:60])
def test_an_example_runs(example: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    exec(compile(example, "docs/file_formats.md", "exec"), {})
