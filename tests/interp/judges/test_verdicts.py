"""A verdict file loses nothing that was written, and knows what it holds."""

from pathlib import Path

import pytest

from interp.errors import InputError
from interp.judges.answers import Answered
from interp.judges.judging import verdict_line
from interp.judges.rubrics import Rubric, Verdict, read_rubric
from interp.judges.verdicts import VerdictFile, latest_verdicts, read_verdicts, verdict_key, verdict_path
from tests.interp.judges.conftest import items, verdict_file

VERDICT: Verdict = {"reasoning": "é \u2028", "claims_detection": True, "claimed_concept": None}


def put(file: VerdictFile, number: int, error: str | None = None) -> bytes:
    item, values = items(*(f"text {each}" for each in range(number + 1)))[number]
    key = file.key(file.rubric.messages(values))
    file.append(verdict_line(file, item, key, Answered(None if error else {**VERDICT}, error)))
    return key


def test_what_was_written_is_found_again(tmp_path: Path, rubric: Rubric) -> None:
    with verdict_file(tmp_path, rubric) as file:
        keys = [put(file, number) for number in range(300)]
        assert all(file.find(key) == VERDICT for key in keys)
    with verdict_file(tmp_path, rubric) as file:
        assert len(file) == 300 and all(file.has(f"i{number}", key) for number, key in enumerate(keys))
        assert file.find(keys[250]) == VERDICT
        assert not file.has("another", keys[0]) and file.knows(keys[0])
        assert not file.knows(b"0" * 16) and file.find(b"0" * 16) is None


def test_an_error_is_no_verdict_and_a_later_verdict_counts(tmp_path: Path, rubric: Rubric) -> None:
    with verdict_file(tmp_path, rubric) as file:
        key = put(file, 0, "HTTP 500")
        put(file, 1, "HTTP 500")
        assert not file.has("i0", key) and not file.knows(key)
        put(file, 0)
        put(file, 0, "a later error")
    latest = latest_verdicts(file.path)
    assert latest["i0"].verdict == VERDICT and latest["i1"].error == "HTTP 500" and len(latest) == 2


@pytest.mark.parametrize("cut", [1, 2, 40, 200])
def test_a_torn_last_line_is_cut_off_with_a_warning(
    tmp_path: Path, rubric: Rubric, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    with verdict_file(tmp_path, rubric) as file:
        keys = [put(file, number) for number in range(3)]
    whole = file.path.read_bytes()
    file.path.write_bytes(whole[:-cut])
    assert len(list(read_verdicts(file.path))) == 2 and file.path.read_bytes() == whole[:-cut]
    with verdict_file(tmp_path, rubric) as file:
        assert [file.has(f"i{number}", key) for number, key in enumerate(keys)] == [True, True, False]
        put(file, 2)
    assert file.path.read_bytes() == whole
    assert "cut off" in caplog.text


def test_a_broken_line_in_the_middle_is_an_error(tmp_path: Path, rubric: Rubric) -> None:
    with verdict_file(tmp_path, rubric) as file:
        for number in range(3):
            put(file, number)
    lines = file.path.read_bytes().splitlines(keepends=True)
    file.path.write_bytes(lines[0] + b'{"key": 3}\n' + lines[2])
    with pytest.raises(InputError, match=f"byte {len(lines[0])}"):
        verdict_file(tmp_path, rubric)


def test_one_writer_at_a_time(tmp_path: Path, rubric: Rubric) -> None:
    with verdict_file(tmp_path, rubric), pytest.raises(InputError, match="another process"):
        verdict_file(tmp_path, rubric)
    verdict_file(tmp_path, rubric).close()


def test_verdicts_of_another_rubric_or_judge_are_not_mixed_in(tmp_path: Path, rubric: Rubric) -> None:
    with verdict_file(tmp_path, rubric) as file:
        put(file, 0)
    with pytest.raises(InputError, match="another rubric or judge"):
        verdict_file(tmp_path, rubric, "another judge")
    with pytest.raises(InputError, match="another rubric or judge"):
        verdict_file(tmp_path, read_rubric("trait_shown"))


def test_paths_and_keys_tell_rubric_judge_and_text_apart(rubric: Rubric) -> None:
    path = verdict_path(Path("a/fear.jsonl"), rubric, "openai/gpt 5")
    assert path == Path(f"a/fear.verdicts/introspection_detection-{rubric.hash}-openai-gpt-5.jsonl")
    messages = [rubric.messages(values) for _, values in items("one", "two")]
    keys = {verdict_key(rubric, judge, each) for judge in ("x", "y") for each in messages}
    assert len(keys) == 4 and all(len(key) == 16 for key in keys)
