"""Dependencies go one way: inference, analysis and experiments on interp; analysis never on a model."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PARTS = ("interp", "inference", "analysis", "experiments", "slurm")
ABOVE = {"slurm": {"inference", "experiments"}}
"""Parts that stand on more than interp."""
MODEL_SIDE = (
    "models", "blocks", "interventions", "chat", "generation", "capture", "activations", "vectors",
    "summaries",
)  # fmt: skip
LIGHT = (
    "errors", "paths", "files", "manifest", "records", "config", "layers", "work", "stopping", "cli", "stats",
    "intervals", "permutations", "projections", "vector_store", "steering_store", "leases", "sharing", "batch_jobs",
    "jsonl", "judges", "stores", "pages",
)  # fmt: skip


def modules(part: str) -> list[Path]:
    """Its Python files, those in folders of weights left out."""
    root = REPOSITORY / part
    return sorted(path for path in root.rglob("*.py") if "models" not in path.relative_to(root).parts)


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it: `from interp import models` counts as interp.models."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("part", PARTS)
def test_parts_import_only_themselves_and_interp(part: str) -> None:
    others = tuple({*PARTS, "tests", "benchmarks"} - {part, "interp"} - ABOVE.get(part, set()))
    wrong = [(path.name, name) for path in modules(part) for name in imports(path) if within(name, others)]
    assert modules(part) and not wrong


def test_analysis_never_imports_the_model_side() -> None:
    forbidden = ("torch", "transformers", "peft", "bitsandbytes", *(f"interp.{name}" for name in MODEL_SIDE))
    wrong = [(path.name, name) for path in modules("analysis") for name in imports(path) if within(name, forbidden)]
    assert not wrong


def test_every_module_of_interp_is_on_one_side() -> None:
    """A package is on the side of all its modules."""
    root = REPOSITORY / "interp"
    names = {path.relative_to(root).parts[0].removesuffix(".py") for path in modules("interp")} - {"__init__"}
    assert names >= {*MODEL_SIDE, *LIGHT}
    undecided = names - {*MODEL_SIDE, *LIGHT}
    assert not undecided, f"say in this test whether these may import torch: {undecided}"


def loads_torch(names: list[str]) -> bool:
    program = f"import sys, {', '.join(names)}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=False, capture_output=True, text=True)
    assert done.returncode in (0, 1) and not done.stderr, done.stderr
    return bool(done.returncode)


def test_the_light_side_and_the_analysis_load_no_torch() -> None:
    root = REPOSITORY / "interp"
    paths = [path for path in modules("interp") if path.relative_to(root).parts[0].removesuffix(".py") in LIGHT]
    light = [".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in paths]
    assert "interp.judges.judging" in light and "interp.cli" in light
    analysis = [f"analysis.{path.stem}" for path in modules("analysis") if path.stem != "__init__"]
    assert not loads_torch([*light, *analysis])
    assert loads_torch(["interp.vectors"]), "the check itself sees nothing"


def test_names_say_what_a_module_is_for() -> None:
    named = {path.stem: path for part in PARTS for path in modules(part) if not path.stem.startswith("__")}
    assert not {"utils", "helpers", "common", "core", "misc"} & set(named)
    assert not sys.stdlib_module_names & set(named), "`python inference/x.py` would import it for the standard one"
    assert not list((REPOSITORY / "datasets").rglob("__init__.py")), "it would shadow Hugging Face's datasets"
