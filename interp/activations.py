"""The activation store: one `.pt` file per (author, prompt set, reader, prompt id).

`torch.load(path, weights_only=True, mmap=True)` gives a dict: `resid` `[layers, tokens, d_model]`, `layers`,
`token_ids` (of the kept tokens), `boundary` (index of the first response token among them), `part` ("response" or
"all"), `dtype`, `fingerprint`.
"""

from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp.config import DType
from interp.errors import InputError, ValueOutOfRange
from interp.files import torch_bytes

Part = Literal["response", "all"]


@dataclass(frozen=True)
class Activations:
    """Residuals of one reader on one response."""

    resid: Float[Tensor, "layers tokens d_model"]
    layers: tuple[int, ...]
    token_ids: tuple[int, ...]
    boundary: int
    fingerprint: str

    @property
    def response(self) -> Float[Tensor, "layers response_tokens d_model"]:
        return self.resid[:, self.boundary :]

    def to_bytes(self) -> bytes:
        """The content of its file; the same values always give the same bytes."""
        return torch_bytes(
            {
                "resid": self.resid.clone().contiguous(),
                "layers": list(self.layers),
                "token_ids": list(self.token_ids),
                "boundary": self.boundary,
                "part": "all" if self.boundary else "response",
                "dtype": str(self.resid.dtype).removeprefix("torch."),
                "fingerprint": self.fingerprint,
            }
        )


def load_activations(path: Path) -> Activations:
    """Map a file into memory; values are read from disk as they are used.

    Raises:
        InputError: missing, torn, or not such a file.
    """
    try:
        content = torch.load(path, weights_only=True, mmap=True, map_location="cpu")
        return Activations(
            resid=content["resid"],
            layers=tuple(content["layers"]),
            token_ids=tuple(content["token_ids"]),
            boundary=content["boundary"],
            fingerprint=content["fingerprint"],
        )
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; run the phase that makes it") from None
    except (RuntimeError, LookupError, TypeError, ValueError, EOFError, OSError, UnpicklingError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise InputError(
            f"{path} is torn or no activation file ({reason}); run the phase that makes it again with --skip-existing"
        ) from None


def cast_for_storage(
    resid: Float[Tensor, "layers tokens d_model"], dtype: DType, layers: tuple[int, ...], what: str
) -> Float[Tensor, "layers tokens d_model"]:
    """Residuals in the dtype that they are stored in.

    Raises:
        ValueOutOfRange: a value is not finite there; names layer, token and what to do. An inf is never stored.
    """
    cast = resid.to(getattr(torch, dtype))
    finite = torch.isfinite(cast).all(dim=-1)
    if bool(finite.all()):
        return cast
    layer, token = (int(index) for index in (~finite).nonzero()[0])
    value = float(resid[layer, token].float().abs().max())
    advice = "store with --dtype bfloat16 or float32" if value < float("inf") else "the model itself overflows"
    raise ValueOutOfRange(
        f"{what}: residual at layer {layers[layer]}, kept token {token} reaches {value:.6g}, which {dtype} cannot "
        f"hold (largest {torch.finfo(getattr(torch, dtype)).max:.6g}); {advice}"
    )
