"""The activation store: what is written is what is read, in the same bytes each time, and nothing else is read."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from interp.activations import Activations, cast_for_storage, load_activations
from interp.config import DType
from interp.errors import InputError, ValueOutOfRange
from interp.files import write_bytes

LAYERS = (2, 5, 9)


def made(dtype: torch.dtype = torch.float16, boundary: int = 4) -> Activations:
    resid = torch.randn(3, 7, 16, generator=torch.Generator().manual_seed(0)).to(dtype)
    return Activations(resid, LAYERS, tuple(range(100, 107)), boundary, fingerprint="abc")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("boundary", [0, 4])
def test_comes_back_as_it_was(tmp_path: Path, dtype: torch.dtype, boundary: int) -> None:
    path, before = tmp_path / "x.pt", made(dtype, boundary)
    write_bytes(path, before.to_bytes())
    after = load_activations(path)
    assert torch.equal(after.resid, before.resid) and after.resid.dtype == dtype
    assert (after.layers, after.token_ids, after.boundary) == (LAYERS, before.token_ids, boundary)
    assert after.fingerprint == "abc"
    assert torch.equal(after.response, before.resid[:, boundary:])


@pytest.mark.parametrize(("boundary", "part"), [(0, "response"), (4, "all")])
def test_file_is_a_plain_dict_that_torch_maps(tmp_path: Path, boundary: int, part: str) -> None:
    path = tmp_path / "x.pt"
    write_bytes(path, made(boundary=boundary).to_bytes())
    content = torch.load(path, weights_only=True, mmap=True)
    assert {key: content[key] for key in content if key != "resid"} == {
        "layers": list(LAYERS),
        "token_ids": list(range(100, 107)),
        "boundary": boundary,
        "part": part,
        "dtype": "float16",
        "fingerprint": "abc",
    }
    assert content["resid"].is_contiguous()


def test_same_values_give_the_same_bytes_wherever_they_are_put(tmp_path: Path) -> None:
    paths = [tmp_path / "a.pt", tmp_path / "b.pt", tmp_path / "deep" / "folder" / "long-name.pt"]
    for path in paths:
        write_bytes(path, made().to_bytes())
    assert len({path.read_bytes() for path in paths}) == 1
    torch.save({"resid": made().resid}, paths[0])
    torch.save({"resid": made().resid}, paths[1])
    assert paths[0].read_bytes() != paths[1].read_bytes(), "torch.save to a path would have done as well"


def test_a_slice_does_not_take_its_whole_storage_along() -> None:
    whole = torch.randn(3, 10_000, 16)
    part = Activations(whole[:, 5:8], LAYERS, (1, 2, 3), 0, "abc")
    transposed = Activations(whole.permute(0, 2, 1)[:, :, :16], LAYERS, tuple(range(16)), 0, "abc")
    for activations in (part, transposed):
        assert len(activations.to_bytes()) < activations.resid.numel() * 4 + 3000
        assert activations.resid.untyped_storage().nbytes() > 1_000_000


def test_float16_refuses_what_it_cannot_hold() -> None:
    resid = torch.zeros(3, 7, 16)
    resid[1, 4, 2] = -70_000.0
    with pytest.raises(ValueOutOfRange, match=r"org, q1: residual at layer 5, kept token 4 reaches 70000.*bfloat16"):
        cast_for_storage(resid, "float16", LAYERS, "org, q1")
    for dtype in ("bfloat16", "float32"):
        assert bool(torch.isfinite(cast_for_storage(resid, dtype, LAYERS, "org, q1")).all())
    resid[1, 4, 2] = -65_504.0
    assert float(cast_for_storage(resid, "float16", LAYERS, "org, q1")[1, 4, 2]) == -65_504.0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_what_is_not_finite_is_never_stored(value: float, dtype: DType) -> None:
    resid = torch.zeros(3, 7, 16)
    resid[2, 0, 0] = value
    with pytest.raises(ValueOutOfRange, match=r"layer 9, kept token 0 .*the model itself overflows"):
        cast_for_storage(resid, dtype, LAYERS, "org, q1")


class _Opened:
    """Would run code when unpickled."""

    def __reduce__(self) -> Any:
        return print, ("opened",)


BAD: dict[str, Any] = {
    "cut": lambda: made().to_bytes()[:-30],
    "half": lambda: made().to_bytes()[: len(made().to_bytes()) // 2],
    "empty": lambda: b"",
    "text": lambda: b"not a zip at all",
    "pickle": lambda: pickle.dumps({"resid": 1}),
}


@pytest.mark.parametrize("kind", BAD)
def test_torn_files_are_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(BAD[kind]())
    with pytest.raises(InputError, match=r"is torn or no activation file .*--skip-existing") as raised:
        load_activations(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "content",
    [{"resid": torch.zeros(2, 2)}, torch.zeros(3), [1, 2], {"resid": _Opened()}],
    ids=["dict", "tensor", "list", "object"],
)
def test_foreign_files_are_one_line(tmp_path: Path, content: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.pt"
    torch.save(content, path)
    with pytest.raises(InputError, match="is torn or no activation file") as raised:
        load_activations(path)
    assert "\n" not in str(raised.value)
    assert "opened" not in capsys.readouterr().out


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist; run the phase that makes it"):
        load_activations(tmp_path / "x.pt")
