"""What benchmarks that end in one page share: the option to write it, and lists of counts."""

import argparse
from pathlib import Path

from interp import cli
from interp.files import write_text


def page_option() -> argparse.ArgumentParser:
    """--out, as a parent parser."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the page there too (default: print only)")
    return parser


def publish(page: str, out: Path | None) -> None:
    """Print a page, and write it where it is wanted."""
    if out is not None:
        write_text(out, page)
    print(page)


def counts(text: str) -> list[int]:
    """An option's comma-separated numbers, each at least 1."""
    return [cli.positive(name) for name in cli.names(text)]
