"""The only place that writes to disk. A file under its final name is whole: temporary file, fsync, rename.

A killed process leaves at most hidden temporary files, which `sweep_leftovers` removes once their writer is gone.
The same content always gives the same bytes: no names, times or hash orders get into a file.
"""

import errno
import io
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.errors import DiskFull, InputError

if TYPE_CHECKING:
    from torch import Tensor

_TAIL = 22
_ENDINGS: dict[str, Callable[[bytes], bool]] = {
    ".json": lambda tail: tail.endswith(b"\n}\n") or tail == b"{}\n",  # only the outermost brace stands unindented
    ".pt": lambda tail: tail.startswith(b"PK\x05\x06"),
    ".parquet": lambda tail: tail.endswith(b"PAR1"),
}
_OLD_SECONDS = 86_400
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_LEFTOVER = re.compile(r"^\..*\.(?P<host>[^.]+)\.(?P<pid>\d+)\.(?P<start>\d+)\.tmp$")


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` so that `path` holds either what it held before or all of `data`, whatever happens.

    Raises:
        DiskFull: the target has no room; nothing is left behind.
    """
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in _FULL:
            raise DiskFull(_full_message(path, len(data))) from error
        raise


def write_many(files: Mapping[Path, bytes], threads: int = 8) -> None:
    """Write several files, each atomically; their fsyncs overlap."""
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(write_bytes, files.keys(), files.values()):
            pass


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def json_bytes(value: object) -> bytes:
    """JSON with keys in the order given, one element a line, UTF-8."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_json(path: Path, value: object) -> None:
    write_bytes(path, json_bytes(value))


def read_json(path: Path) -> Any:
    """The parsed content of a JSON file.

    Raises:
        InputError: the file is missing, unreadable or torn.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid JSON ({error}); mend it, or delete it to have it made again") from None


def torch_bytes(value: object) -> bytes:
    """What `torch.save` writes, without the file's own name in it (loadable with weights_only=True, mmap=True)."""
    import torch

    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def write_tensors(path: Path, tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file; tensors are copied first, contiguous and on the CPU, so that they may share memory.

    `metadata` has at most one key: safetensors writes several in an order that changes from run to run.
    """
    from safetensors.torch import save

    if metadata is not None and len(metadata) > 1:
        raise ValueError("several metadata keys have no fixed order in a safetensors file: join them into one JSON")

    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_bytes(path, save(whole, metadata=dict(metadata or {})))


def list_names(folder: Path) -> frozenset[str]:
    """The names of the finished files in a folder, listed once; empty when the folder is not there."""
    try:
        return frozenset(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
    except FileNotFoundError:
        return frozenset()


def is_whole(path: Path) -> bool:
    """Whether a JSON, .pt or Parquet file has its end; false for one cut short, or not there.

    Our own writing never leaves a torn file; an interrupted copy does.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(max(size - _TAIL, 0))
            return _ENDINGS[path.suffix](file.read())
    except FileNotFoundError:
        return False


def sweep_leftovers(folder: Path) -> int:
    """Remove the temporary files below `folder` whose writers are gone; how many there were.

    Of a writer on another machine that is known only by age: no file takes a day to write.
    """
    removed = 0
    for path in _temporary_files(folder):
        match = _LEFTOVER.match(path.name)
        if match and _is_left_over(path, match["host"], int(match["pid"]), int(match["start"])):
            path.unlink(missing_ok=True)
            removed += 1
    return removed


def _temporary_files(folder: Path) -> list[Path]:
    """Those below `folder`; none where another process has removed it, or a folder in it, meanwhile."""
    try:
        return list(folder.rglob(".*.tmp"))
    except FileNotFoundError:
        return []


def _is_left_over(path: Path, host: str, pid: int, start: int) -> bool:
    if host == _host():
        return not process_is_running(pid, start)
    try:
        return time.time() - path.stat().st_mtime > _OLD_SECONDS
    except FileNotFoundError:
        return False


def free_bytes(path: Path) -> int:
    """Room left on the disk that holds `path`, which need not exist yet."""
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    return shutil.disk_usage(existing).free


def human_bytes(count: float) -> str:
    """A size for people: decimal units, three significant digits."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _full_message(path: Path, needed: int) -> str:
    free = free_bytes(path)
    missing = f"{human_bytes(needed - free)} missing for this file alone" if needed > free else "a quota is met"
    return (
        f"no room on the disk of {path}: this file needs {human_bytes(needed)}, {human_bytes(free)} are free "
        f"({missing}); free some space or set --root to another disk, then run the same command again: nothing that is "
        "finished is lost"
    )


def temporary_name(path: Path) -> Path:
    """The hidden name beside `path` that says whose it is, by which `sweep_leftovers` knows it."""
    pid = os.getpid()
    return path.with_name(f".{path.name}.{_host()}.{pid}.{process_start(pid)}.tmp")


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())


def process_start(pid: int) -> int:
    """When a process started, in clock ticks since boot: tells a process from a later one with its number.

    0 where that cannot be seen.
    """
    fields = _process_fields(pid)
    return int(fields[19]) if fields else 0


def process_is_running(pid: int, start: int) -> bool:
    """Whether the process that had this number and start still runs on this machine."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    fields = _process_fields(pid)
    return not fields or (int(fields[19]) == start and fields[0] not in "ZX")


def _process_fields(pid: int) -> list[str]:
    """What /proc/<pid>/stat says, from the state on; empty where it says nothing."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
