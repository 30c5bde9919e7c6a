"""Errors are one line and a status; options keep their own words; progress is a line or a bar."""

import argparse
import logging
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from interp import cli, errors
from interp.work import Shard


def run_program(body: str) -> subprocess.CompletedProcess[str]:
    program = f"from interp import cli, errors\ndef main():\n    {body}\ncli.run(main)"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("name", "status"), [("InputError", 2), ("SettingsChanged", 3), ("DiskFull", 4), ("Stopped", 75)]
)
def test_an_error_is_one_line_and_its_status(name: str, status: int) -> None:
    done = run_program(f"raise errors.{name}('no such thing; write another')")
    assert (done.returncode, done.stderr) == (status, "error: no such thing; write another\n")


def test_statuses_are_distinct_and_never_success() -> None:
    family = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.InterpError)]
    statuses = [kind.exit_status for kind in family]
    assert len(set(statuses)) == len(family) == 8 and 0 not in statuses
    assert all(kind.__doc__ for kind in family)


def test_a_bug_keeps_its_traceback() -> None:
    done = run_program("raise KeyError('bug')")
    assert done.returncode == 1 and "Traceback" in done.stderr and "KeyError: 'bug'" in done.stderr


@pytest.mark.parametrize("status", [0, 3])
def test_main_says_how_it_went(status: int) -> None:
    assert run_program(f"return {status}").returncode == status


def test_a_reader_that_goes_away_is_no_bug() -> None:
    program = "from interp import cli\ndef main():\n    for n in range(200000): print(n)\n    return 0\ncli.run(main)"
    command = f"{shlex.quote(sys.executable)} -c '{program}' | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (141, "0\n", "")


def test_names() -> None:
    assert cli.names("a, b,,c ") == ["a", "b", "c"]


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    parents = [cli.experiment_options(), cli.work_options(), cli.device_options()]
    parser = argparse.ArgumentParser(parents=parents)
    parser.add_argument("--layers", type=cli.layers_argument)
    return parser


def test_options(parser: argparse.ArgumentParser) -> None:
    given = "--experiment e --prompt-set a,b --layers 3,0-1 --shard 1/4 --overwrite --root r"
    args = parser.parse_args(given.split())
    assert (args.experiment, args.prompt_set, args.model_variant, args.root) == ("e", ["a", "b"], None, Path("r"))
    assert (args.layers, args.shard) == ((0, 1, 3), Shard(1, 4))
    assert args.overwrite and not args.skip_existing and not args.dry_run
    defaults = parser.parse_args(["--experiment", "e"])
    assert defaults.shard == Shard() and defaults.device is None and defaults.root.is_absolute()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--layers", "5-3"], "argument --layers: layers '5-3': '5-3' is an empty range; write 3-5"),
        (["--layers", "x"], "'x' is neither a layer nor a range; write 20,23,26 or 0-5"),
        (["--shard", "4/4"], "argument --shard: --shard '4/4': write i/n with 0 <= i < n, for instance 0/4 to 3/4"),
        (["--skip-existing", "--overwrite"], "--overwrite: not allowed with argument --skip-existing"),
    ],
)
def test_a_wrong_option_keeps_its_text(
    parser: argparse.ArgumentParser, capsys: pytest.CaptureFixture[str], given: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--experiment", "e", *given])
    assert ended.value.code == 2 and message in capsys.readouterr().err


def test_help_is_printable_and_names_every_option(parser: argparse.ArgumentParser) -> None:
    text = parser.format_help()
    options = ["experiment", "root", "prompt-set", "model-variant", "shard", "skip-existing", "overwrite", "dry-run"]
    assert all(f"--{option}" in text for option in [*options, "device", "threads", "layers"])


def test_progress_in_a_log(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    caplog.set_level(logging.INFO, logger="interp.cli")
    progress = cli.Progress("generate", 50, "responses")
    assert "ETA ?" in progress.line("")
    now[0] += 5.0
    progress.step(10, "flattery")
    progress.close()
    assert caplog.messages == ["generate: 10/50 responses, 40 left, 2/s, ETA 0:20  flattery"]


def test_progress_at_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    progress = cli.Progress("generate", 4, "responses")
    progress.step(4, "flattery")
    progress.close()
    shown = capsys.readouterr().err
    assert "generate: 100%" in shown and "4/4" in shown and "flattery" in shown


def test_durations() -> None:
    assert [cli.duration(seconds) for seconds in (0, 59.6, 3599, 3600, 360_000)] == [
        "0:00", "1:00", "59:59", "1:00:00", "100:00:00",
    ]  # fmt: skip


def test_an_array_element_knows_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = cli.work_options()
    for name in ("ID", "MIN", "COUNT"):
        monkeypatch.delenv(f"SLURM_ARRAY_TASK_{name}", raising=False)
    with pytest.raises(SystemExit):
        parser.parse_args(["--shard", "array"])
    for name, value in (("ID", "7"), ("MIN", "5"), ("COUNT", "4")):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    assert parser.parse_args(["--shard", "array"]).shard == Shard(2, 4)
    assert parser.parse_args(["--shard", "1/3"]).shard == Shard(1, 3)


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "inf"])
def test_seconds_are_above_zero(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.work_options().parse_args([f"--lease-seconds={text}"])
    assert "is no number of seconds above 0" in capsys.readouterr().err
