"""A tiny experiment with planted quirks, built once; every test audits a copy of its own."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from analysis import compare_readers, report, top_activating_responses
from experiments.planted_quirks import build
from inference import (
    extract_trait_vectors,
    generate_responses,
    project_raw_activations_onto_traits,
    replay_responses,
    status,
)

SCRIPTS: dict[str, Callable[[list[str]], int]] = {
    "extract": extract_trait_vectors.main,
    "generate": generate_responses.main,
    "replay": replay_responses.main,
    "project": project_raw_activations_onto_traits.main,
    "compare": compare_readers.main,
    "top": top_activating_responses.main,
    "report": report.main,
    "status": status.main,
}


@dataclass(frozen=True)
class Audit:
    """An experiment in a folder of its own."""

    root: Path
    name: str

    @property
    def folder(self) -> Path:
        return self.root / self.name

    def run(self, script: str, *flags: str) -> int:
        """The script's real main."""
        return SCRIPTS[script](["--experiment", self.name, "--root", str(self.root), *flags])

    def run_all(self) -> None:
        self.run("extract", "--skip-existing")
        self.run("generate", "--response-only", "--skip-existing")
        self.run("replay", "--response-only", "--skip-existing")
        self.run("project", "--skip-existing")
        self.run("compare")
        self.run("top")
        self.run("report")

    def edit_config(self, change: Callable[[dict[str, Any]], None]) -> None:
        path = self.folder / "config.json"
        config = json.loads(path.read_text())
        change(config)
        path.write_text(json.dumps(config))

    def organisms(self) -> list[str]:
        variants = json.loads((self.folder / "config.json").read_text())["model_variants"]
        return [name for name, variant in variants.items() if variant["role"] == "organism"]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """The tiny preset, built by its real main; shared, so copy it before writing to it."""
    root = tmp_path_factory.mktemp("built")
    assert build.main(["--preset", "tiny", "--root", str(root)]) == 0
    (folder,) = (path for path in root.iterdir() if path.is_dir())
    audit = Audit(root, folder.name)
    audit.edit_config(lambda config: config.update(threads=1, batch_size=8))
    return audit


@pytest.fixture(scope="session")
def audited(built: Audit, tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """The tiny experiment after a whole audit; shared, so copy it before writing to it."""
    root = tmp_path_factory.mktemp("audited")
    shutil.copytree(built.folder, root / built.name)
    audit = Audit(root, built.name)
    audit.run_all()
    return audit


@pytest.fixture
def fresh(built: Audit, tmp_path: Path) -> Audit:
    """A copy of the built experiment, nothing audited yet."""
    shutil.copytree(built.folder, tmp_path / built.name)
    return Audit(tmp_path, built.name)


@pytest.fixture
def done(audited: Audit, tmp_path: Path) -> Audit:
    """A copy of the audited experiment, times of files included."""
    shutil.copytree(audited.folder, tmp_path / audited.name, copy_function=shutil.copy2)
    return Audit(tmp_path, audited.name)


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
