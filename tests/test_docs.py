"""The pages say what is there: links, scripts, options, fields and examples."""

import importlib
import io
import re
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path

import pytest

from interp import errors
from interp.batch_jobs import Job, SubmittedJobs
from interp.config import ExperimentConfig, ModelShape, ModelVariant, Quantization
from interp.paths import REPOSITORY
from interp.projections import NORMS, SCORES
from interp.records import Instructions, Prompt, PromptSet, Provenance, Record, Response, Sampling, Trait, TraitSentence
from interp.steering_store import ResponsesProvenance, SteeringProvenance

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "experiments/*/README.md", "benchmarks/README.md", "slurm/README.md")
    for path in REPOSITORY.glob(pattern)
)
SCRIPT = re.compile(r"python -m ([\w.]+)|\b((?:inference|analysis|experiments|benchmarks|tests|interp)/[\w/]+\.py)\b")
SHELL = re.compile(r"((?:\bslurm/)?\b\w+\.(?:sh|sbatch))\b")
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
LINK = re.compile(r"\]\(([^)\s]+)\)")
ABSOLUTE = re.compile(r"(?<![\w.:/<>)\]}*…-])/(\w[\w.-]*)/")
FOLDERS = (REPOSITORY, REPOSITORY / "slurm")
"""Where a script may lie that a page names without its folder."""
EXAMPLE_FOLDERS = {"scratch", "tmp"}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))


def test_there_are_pages() -> None:
    names = {str(page.relative_to(REPOSITORY)) for page in PAGES}
    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/file_formats.md"} <= names
    assert {"experiments/audit-bleachers/README.md", "experiments/audit-bleachers-14b/README.md"} <= names


# --- Links and scripts ------------------------------------------------------------------------------------------------


@pages
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = [link.partition("#")[0] for link in LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pages
def test_every_script_that_is_named_exists(page: Path) -> None:
    text = page.read_text()
    files = [path or f"{module.replace('.', '/')}.py" for module, path in SCRIPT.findall(text) if not foreign(module)]
    files += SHELL.findall(text)
    assert [name for name in files if not any((folder / name).is_file() for folder in FOLDERS)] == []


def foreign(module: str) -> bool:
    """Whether `python -m module` runs somebody else's."""
    return bool(module) and not (REPOSITORY / module.partition(".")[0]).is_dir()


# --- Options ----------------------------------------------------------------------------------------------------------


@cache
def flags_of(module: str) -> frozenset[str]:
    """The options of a script of ours."""
    script = importlib.import_module(module)
    if hasattr(script, "build_parser"):
        return frozenset(script.build_parser()._option_string_actions)
    shown = io.StringIO()
    with pytest.raises(SystemExit), redirect_stdout(shown):
        script.main(["--help"])
    return frozenset(FLAG.findall(shown.getvalue()))


@cache
def script_modules() -> list[str]:
    """Everything that has a `main` of its own."""
    return sorted(
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts)
        for part in ("inference", "analysis", "experiments", "slurm", "benchmarks", "tests")
        for path in (REPOSITORY / part).rglob("*.py")
        if re.search(r"^def main\(argv", path.read_text(), re.MULTILINE)
    )


def statements(text: str) -> Iterator[str]:
    """A page's paragraphs, list items, table rows and code lines: what a script and its options stand in together."""
    for number, block in enumerate(re.split(r"^```.*$", text, flags=re.MULTILINE)):
        if number % 2:
            yield from block.replace("\\\n", " ").splitlines()
        else:
            yield from re.split(r"\n(?=\s*$|[-|]|\d\.)", block, flags=re.MULTILINE)


def unknown_flags(text: str) -> list[str]:
    """The options that no script named beside them has; where none is named, that no script has at all."""
    unknown = []
    for statement in statements(text):
        named = [module or path.removesuffix(".py").replace("/", ".") for module, path in SCRIPT.findall(statement)]
        if "run_overnight.sh" in statement:
            named += ["experiments.planted_quirks.build", "inference.generate_responses"]
        if "submit_overnight.sh" in statement:
            named += ["slurm.submit_overnight", "experiments.planted_quirks.build", "inference.generate_responses"]
        if re.search(r"\b(sbatch|scancel|gcloud|docker|modal) |dev_cluster.sh", statement):
            continue  # options of other programs
        if any(foreign(module) for module in named):
            continue
        parsing = [module for module in named if module in script_modules()]
        known = frozenset[str]().union(*map(flags_of, parsing or script_modules()))
        unknown += [flag for flag in FLAG.findall(statement) if flag not in known]
    return unknown


@pages
def test_every_option_that_is_named_exists(page: Path) -> None:
    assert unknown_flags(page.read_text()) == []


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("`python inference/status.py --experiment x`", []),
        ("`python inference/status.py --top-n 3`", ["--top-n"]),
        ("```bash\npython inference/status.py \\\n  --top-n 3\n```", ["--top-n"]),
        ("Give `--top-n` or `--tpo-n`.", ["--tpo-n"]),
        ("`inference/status.py`\n\nand `--top-n`", []),
        ("| a | b |\n|---|--:|\n| `inference/status.py` | `--top-n` |", ["--top-n"]),
        ("`bash run_overnight.sh --seed 1`, `bash run_overnight.sh x --keep pooled`", []),
        ("`bash run_overnight.sh --top-n 1`", ["--top-n"]),
        ("`python -m tests.interruption --kills 20`", []),
        ("`python -m ruff check --fix`", []),
    ],
)
def test_the_check_of_options_sees_what_it_should(text: str, unknown: list[str]) -> None:
    assert unknown_flags(text) == unknown


# --- What does not belong on a page -----------------------------------------------------------------------------------


@pages
def test_no_page_knows_the_machine_that_it_was_written_on(page: Path) -> None:
    text = re.sub(r"https?://\S+", "", page.read_text())
    assert [match.group() for match in ABSOLUTE.finditer(text) if match.group(1) not in EXAMPLE_FOLDERS] == []
    assert re.findall(r"\b(?:session|helper)s?\b|\bshared/", text) == []


def test_the_check_of_machine_paths_sees_what_it_should() -> None:
    assert ABSOLUTE.findall("see /home/me and `/opt/x/y`, not <root>/<name>/x, a/b/c or s/it/") == ["home", "opt"]


# --- Fields and errors ------------------------------------------------------------------------------------------------

FIELDS: tuple[type[Record], ...] = (
    ExperimentConfig, ModelVariant, ModelShape, Quantization, Sampling, PromptSet, Prompt, Trait, TraitSentence,
    Instructions, Response, Provenance, SteeringProvenance, ResponsesProvenance, Job, SubmittedJobs,
)  # fmt: skip


@pytest.mark.parametrize("record", FIELDS, ids=lambda record: record.__name__)
def test_every_field_of_a_record_is_described(record: type[Record]) -> None:
    text = (REPOSITORY / "docs" / "file_formats.md").read_text()
    assert [name for name in record.model_fields if f"`{name}`" not in text] == []


def test_every_column_of_a_projection_is_described() -> None:
    text = (REPOSITORY / "docs" / "file_formats.md").read_text()
    assert [name for name in (*SCORES.names, *NORMS.names) if f"`{name}`" not in text] == []


def test_every_error_stands_with_its_status() -> None:
    text = (REPOSITORY / "docs" / "errors.md").read_text()
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.InterpError)]
    assert len(kinds) == 8
    for kind in kinds:
        assert f"| {kind.exit_status} | `{kind.__name__}` |" in text
        assert f"## {kind.exit_status} · {kind.__name__}" in text


def test_every_module_of_interp_has_its_place() -> None:
    text = (REPOSITORY / "docs" / "architecture.md").read_text()
    names = {path.stem for path in (REPOSITORY / "interp").glob("*.py")} - {"__init__"}
    assert sorted(name for name in names if f"`{name}`" not in text) == []
