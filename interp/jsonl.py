"""Files that only grow, a JSON object a line: cut-off ends are told from whole lines, and appended lines stay.

They are not written through `interp.files`, since nothing is replaced: a line counts once its end is there.
"""

import errno
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from interp.errors import DiskFull, InputError

log = logging.getLogger(__name__)

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file's whole lines, in order; none where there is no file. A cut-off last line is left out.

    Raises:
        InputError: a whole line is no JSON object.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n"):
                yield _parse(line, path, number)


def cut_torn_line(path: Path) -> None:
    """Take off what a kill left of a last line."""
    if not path.exists():
        return
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        log.warning("%s: its last line was cut off, and is made again", path)
        os.truncate(path, whole)


def append_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add lines, all of them or none, and force them to the disk.

    Raises:
        DiskFull: there is no room; the file is as it was.
    """
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        before = file.tell()
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            with suppress(OSError):
                os.truncate(path, before)
            if error.errno in _FULL:
                raise DiskFull(f"no room on the disk of {path}; free some, then run the same command") from error
            raise


def _parse(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise InputError(f"{path}, line {number} is no JSON object; remove it, or the file")
    return row
