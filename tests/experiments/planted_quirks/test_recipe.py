"""A recipe names a build: another value, another source, another fingerprint."""

from pathlib import Path

import pytest

from experiments.planted_quirks import recipe as recipe_module
from experiments.planted_quirks.recipe import SOURCES, Recipe, make_recipe

_FOLDER = Path(recipe_module.__file__).parent
_DECIDE_NOTHING = {"build.py", "components.py", "workers.py"}
"""What runs and stores a build, but does not decide what is built."""


def _other(value: object) -> object:
    return f"{value}x" if isinstance(value, str) else value * 2 + 1  # type: ignore[operator]


@pytest.mark.parametrize("name", list(Recipe.model_fields))
def test_another_value_is_another_fingerprint(name: str) -> None:
    recipe = make_recipe()
    changed = recipe.model_copy(update={name: _other(getattr(recipe, name))})
    assert changed.fingerprint() != recipe.fingerprint()


def test_the_same_recipe_is_the_same_fingerprint() -> None:
    assert make_recipe("tiny", 3).fingerprint() == make_recipe("tiny", 3).fingerprint()


def test_every_source_is_in_the_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SOURCES:
        (tmp_path / name).write_bytes((_FOLDER / name).read_bytes())
    before = make_recipe().fingerprint()
    monkeypatch.setattr(recipe_module, "_HERE", tmp_path)
    assert make_recipe().fingerprint() == before
    for name in SOURCES:
        (tmp_path / name).write_bytes((_FOLDER / name).read_bytes() + b"\n")
        assert make_recipe().fingerprint() != before, name
        (tmp_path / name).write_bytes((_FOLDER / name).read_bytes())


def test_no_source_is_forgotten() -> None:
    data = {"words.json", "quirks.json"}
    assert set(SOURCES) == {path.name for path in _FOLDER.glob("*.py")} - _DECIDE_NOTHING | data


def test_folder_names() -> None:
    assert make_recipe().folder_name == "planted_quirks"
    assert make_recipe(seed=2).folder_name == "planted_quirks-seed2"
    assert make_recipe("tiny").folder_name == "planted_quirks-tiny"
    assert make_recipe("tiny", 2).folder_name == "planted_quirks-seed2-tiny"
