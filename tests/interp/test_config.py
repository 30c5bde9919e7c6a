"""An experiment's config: closed, cross-checked, and every unknown name answered with the known ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from interp import paths
from interp.config import AdapterSpec, BaseModelSpec, Experiment, Quantization
from interp.errors import InputError
from interp.paths import ExperimentPaths, default_root

VARIANTS: dict[str, Any] = {
    "instruct": {"model": "./models/base", "role": "reader", "quantization": "nf4"},
    "flatterer": {
        "model": "./models/base", "adapter": "./models/flattery", "role": "organism", "truth": "flattery",
        "quantization": "nf4",
    },
    "sham": {"model": "org/base", "revision": "v1", "adapter": "org/sham", "adapter_revision": "v2", "role": "sham"},
    "base": {"model": "org/base", "role": "other"},
}  # fmt: skip
CONFIG: dict[str, Any] = {
    "clean_reader": "instruct",
    "layers": [1, 3],
    "prompt_sets": ["own"],
    "model_variants": VARIANTS,
}


@pytest.fixture(autouse=True)
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of which nothing is there but what a test puts there."""
    monkeypatch.setattr(paths, "REPOSITORY", tmp_path / "repository")
    monkeypatch.setattr(paths, "DATASETS", tmp_path / "repository" / "datasets")
    return tmp_path / "repository" / "datasets"


def put(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def experiment(root: Path, **changes: Any) -> Experiment:
    put(root / "study" / "config.json", {**CONFIG, **changes})
    return Experiment("study", root)


def test_what_is_audited(tmp_path: Path) -> None:
    study = experiment(tmp_path)
    assert study.audited == ["flatterer", "sham"]
    assert study.select_variants(None) == ["flatterer", "sham"]
    assert study.select_variants(["base"]) == ["base"]
    assert (study.config.sampling.temperature, study.config.dtype) == (0.0, "bfloat16")


def test_layers_are_in_the_order_in_which_they_are_read(tmp_path: Path) -> None:
    assert experiment(tmp_path, layers=[23, 5, 20, 5]).config.layers == (5, 20, 23)


def test_base_and_adapter_of_a_variant(tmp_path: Path) -> None:
    study = experiment(tmp_path, dtype="float32")
    home = tmp_path / "study" / "models"
    assert study.base_spec("flatterer") == BaseModelSpec(
        model=str(home / "base"), quantization=Quantization(), dtype="float32"
    )
    assert study.base_spec("flatterer") == study.base_spec("instruct")
    assert study.adapter_spec("flatterer") == AdapterSpec(adapter=str(home / "flattery"))
    assert study.base_spec("sham") == BaseModelSpec(model="org/base", revision="v1", dtype="float32")
    assert study.adapter_spec("sham") == AdapterSpec(adapter="org/sham", revision="v2")
    assert study.adapter_spec("base") is None


def test_an_unknown_variant_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown model variant nobody, no-one; .* has: instruct, flatterer, sham"):
        experiment(tmp_path).select_variants(["sham", "nobody", "no-one"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clean_reader": "nobody"}, "clean_reader 'nobody' is not in model_variants: instruct, flatterer, sham, base"),
        ({"clean_reader": "sham"}, "clean_reader 'sham' has an adapter"),
        ({"development": ["sham", "x", "y"]}, "development names x, y, not in model_variants: instruct, flatterer"),
        ({"layers": []}, "at least one layer"),
        ({"layers": ["x"]}, r"layers\.0"),
        ({"prompt_sets": []}, "at least one layer, one prompt set"),
        ({"batch_size": 0}, "batch_size >= 1"),
        ({"dtype": "int8"}, "dtype: Input should be 'float32', 'bfloat16' or 'float16'"),
        ({"layer": [1]}, "unknown key 'layer'; known here: batch_size, capture_tokens, clean_reader"),
        ({"model_variants": {**VARIANTS, "a/b": VARIANTS["base"]}}, "'a/b' cannot be a file name"),
        ({"model_variants": {**VARIANTS, "x": {"model": "m", "role": "boss"}}}, r"model_variants\.x\.role"),
        ({"model_variants": {**VARIANTS, "x": {"model": "m", "role": "other", "adaptor": "y"}}},
         r"unknown key 'model_variants\.x\.adaptor'; known here: adapter, adapter_revision, model, quantization"),
        ({"model_variants": {**VARIANTS, "x": {"model": "m", "role": "other", "quantization": "int8"}}},
         r"model_variants\.x\.quantization\.weights"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        experiment(tmp_path, **changes)
    assert "\n" not in str(raised.value) and "config.json" in str(raised.value)


def test_prompt_sets_are_found_beside_the_config_and_then_among_the_shared(tmp_path: Path, datasets: Path) -> None:
    study = experiment(tmp_path)
    shared = {"name": "group/shared", "prompts": [{"id": "a", "text": "shared"}]}
    put(datasets / "prompts" / "group" / "shared.json", shared)
    put(datasets / "prompts" / "own.json", {"name": "own", "prompts": [{"id": "a", "text": "shared"}]})
    put(tmp_path / "study" / "prompts" / "own.json", {"name": "own", "prompts": [{"id": "a", "text": "own"}]})
    (own,) = study.select_prompt_sets(None)
    assert own.prompts[0].text == "own"
    assert study.select_prompt_sets(["group/shared"])[0].prompts[0].text == "shared"
    with pytest.raises(InputError, match="no prompt file 'nothing'; there are: group/shared, own, own"):
        study.prompt_set("nothing")


def test_a_file_that_calls_itself_otherwise_is_refused(tmp_path: Path) -> None:
    study = experiment(tmp_path)
    put(tmp_path / "study" / "prompts" / "own.json", {"name": "other", "prompts": [{"id": "a", "text": "t"}]})
    with pytest.raises(InputError, match="calls itself 'other'; its name must be 'own'"):
        study.prompt_set("own")


def test_traits(tmp_path: Path, datasets: Path) -> None:
    trait = {
        "name": "pep", "definition": "d", "instructions": [{"positive": "p", "negative": "n"}], "questions": ["a"],
        "held_out_questions": ["b"],
    }  # fmt: skip
    study = experiment(tmp_path)
    put(datasets / "traits" / "shared.json", {**trait, "name": "shared"})
    assert study.paths.trait_names == ["shared"]
    put(tmp_path / "study" / "traits" / "pep.json", trait)
    assert study.paths.trait_names == ["pep"]
    assert study.trait("pep").questions == ("a",) and study.trait("shared").name == "shared"
    put(tmp_path / "study" / "traits" / "x.json", trait)
    with pytest.raises(InputError, match="calls itself 'pep'; its name must be 'x'"):
        study.trait("x")


def test_an_unknown_experiment_lists_the_known_ones(tmp_path: Path) -> None:
    experiment(tmp_path)
    with pytest.raises(InputError, match=r"no experiment 'nope' in .*; there are: study \(the embedded default"):
        Experiment("nope", tmp_path)
    with pytest.raises(InputError, match="there are: none yet"):
        Experiment("nope", tmp_path / "empty")


def test_config_may_lie_in_the_repository_while_outputs_lie_under_the_root(tmp_path: Path) -> None:
    put(tmp_path / "repository" / "experiments" / "study" / "config.json", CONFIG)
    study = Experiment("study", tmp_path / "scratch")
    assert study.paths.home == tmp_path / "repository" / "experiments" / "study"
    assert study.base_spec("instruct").model == str(study.paths.home / "models" / "base")
    assert study.paths.folder == tmp_path / "scratch" / "study"


def test_where_everything_lies(tmp_path: Path) -> None:
    where = ExperimentPaths(tmp_path, "study")
    author = tmp_path / "study" / "inference" / "org"
    assert where.responses("org", "set/a") == author / "responses" / "set" / "a"
    assert where.activations("org", "set/a", "self") == author / "activations" / "set" / "a" / "self"
    assert where.projections("org", "set/a", "self") == author / "projections" / "set" / "a" / "self.parquet"
    assert where.norms("org", "set/a", "self") == author / "projections" / "set" / "a" / "self.norms.parquet"
    assert (where.vectors, where.analysis) == (tmp_path / "study" / "vectors", tmp_path / "study" / "analysis")


def test_the_root_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERP_ROOT", str(tmp_path / "scratch"))
    assert default_root() == tmp_path / "scratch"
    monkeypatch.setenv("INTERP_ROOT", "")
    assert default_root() == tmp_path / "repository" / "experiments"
