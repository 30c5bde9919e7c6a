"""What is kept in place of residuals: the loops that it stands for, and the file that it comes back from."""

from pathlib import Path
from typing import Any

import pytest
import torch

from interp.errors import InputError
from interp.files import write_bytes
from interp.summaries import Summary, load_summary, pool, score
from tests import oracles

RESID = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0)) * 10
DIRECTIONS = torch.randn(3, 2, 8, generator=torch.Generator().manual_seed(1)) * 7


def made(values: Any = None) -> Summary:
    values = score(RESID, DIRECTIONS) if values is None else values
    return Summary("projections", values, RESID.norm(dim=-1), (3, 9), (1, 2, 3, 4, 5), ("a", "b", "c"), "f")


def test_pooling_is_the_mean_over_tokens() -> None:
    for layer in range(2):
        expected = [sum(column) / 5 for column in zip(*RESID[layer].tolist(), strict=True)]
        assert pool(RESID)[layer].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert pool(RESID.half()).dtype == torch.float32
    assert bool(pool(RESID[:, :0]).isnan().all())


def test_scores_are_a_four_line_loop_at_every_layer() -> None:
    scores = score(RESID, DIRECTIONS)
    for layer in range(2):
        expected = torch.tensor(oracles.projections(RESID[layer], DIRECTIONS[:, layer]))
        torch.testing.assert_close(scores[:, layer], expected, atol=1e-4, rtol=1e-4)


def test_comes_back_as_it_was_in_the_same_bytes(tmp_path: Path) -> None:
    for path in (tmp_path / "a.pt", tmp_path / "b" / "other.pt"):
        write_bytes(path, made().to_bytes())
        after = load_summary(path)
        assert torch.equal(after.values, made().values) and torch.equal(after.norms, made().norms)
        assert (after.keep, after.layers, after.token_ids) == ("projections", (3, 9), (1, 2, 3, 4, 5))
        assert (after.vectors, after.fingerprint) == (("a", "b", "c"), "f")
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b" / "other.pt").read_bytes()


def test_a_slice_does_not_take_its_whole_storage_along() -> None:
    assert len(made(torch.zeros(5000, 2, 5)[:3]).to_bytes()) < 4000


@pytest.mark.parametrize("content", [b"", b"text", made().to_bytes()[:-30]], ids=["empty", "text", "cut"])
def test_torn_files_are_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pt"
    with pytest.raises(InputError, match="does not exist"):
        load_summary(path)
    path.write_bytes(content)
    with pytest.raises(InputError, match="is torn or no summary") as raised:
        load_summary(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [{"layers": [1]}, torch.zeros(2), {"keep": Path("x")}], ids=["few", "bare", "code"])
def test_foreign_files_are_one_line(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(InputError, match="is torn or no summary") as raised:
        load_summary(tmp_path / "x.pt")
    assert "\n" not in str(raised.value)
