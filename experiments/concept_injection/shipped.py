"""What of this checkout goes to the cloud, and its hash: code and data that a sweep reads, and nothing else.

A list of what is wanted, not of what is unwanted: results, which by default lie beside the code, keys and notes stay
here because they are not named.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from interp.errors import InputError
from interp.paths import REPOSITORY

SHIPPED = (
    "requirements.txt",
    "interp/**/*.py",
    "datasets/introspection_prompts/*.json",
    "datasets/words/*.json",
    "datasets/rubrics/*.json",
    "experiments/concept_injection/*.py",
    "experiments/concept_injection/*.json",
)
"""Patterns below the repository. A file or folder whose name begins with a dot never matches."""

FOLDERS = ("interp", "datasets", "experiments/concept_injection")
"""The folders that hold them, besides requirements.txt."""

LIBRARIES = (
    "torch", "transformers", "peft", "bitsandbytes", "accelerate", "safetensors", "tokenizers", "numpy", "pydantic",
    "jinja2", "jaxtyping", "tqdm", "openai", "google-cloud-storage", "botocore",
)  # fmt: skip
"""What a sweep needs of requirements.txt."""


def shipped_files(repository: Path = REPOSITORY) -> dict[str, Path]:
    """The files by their POSIX path below the repository, sorted."""
    found = {
        path.relative_to(repository).as_posix(): path
        for pattern in SHIPPED
        for path in repository.glob(pattern)
        if path.is_file()
    }
    return {name: found[name] for name in sorted(found) if not any(part[0] == "." for part in name.split("/"))}


def code_hash(repository: Path = REPOSITORY) -> str:
    """A short hash of the names and contents of what is shipped: equal exactly when they are."""
    digest = hashlib.sha256()
    for name, path in shipped_files(repository).items():
        content = path.read_bytes()
        digest.update(f"{name} {len(content)} ".encode() + content)
    return digest.hexdigest()[:16]


def pinned(libraries: Sequence[str] = LIBRARIES, repository: Path = REPOSITORY) -> list[str]:
    """The lines of requirements.txt for some libraries, in its order.

    Raises:
        InputError: one of them is not there.
    """
    lines = dict(_pins((repository / "requirements.txt").read_text().splitlines()))
    missing = [name for name in libraries if name not in lines]
    if missing:
        raise InputError(f"requirements.txt has no version of {', '.join(missing)}")
    return [line for name, line in lines.items() if name in libraries]


def _pins(lines: Iterable[str]) -> Iterable[tuple[str, str]]:
    for line in lines:
        name, equals, _ = line.partition("==")
        if equals:
            yield name.partition("[")[0].strip(), line.strip()
