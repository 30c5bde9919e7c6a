"""What may be kept of a response's residuals in place of them: far smaller, and enough for some questions.

`pooled` keeps the mean residual over the response's tokens: mean scores on vectors that do not exist yet can still be
computed. `projections` keeps every token's score on the vectors of the day, and nothing for later ones. Both keep the
residual's length at every token. One `.pt` a response, where the residuals would be.
"""

from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import InputError
from interp.files import torch_bytes
from interp.vectors import unit

Keep = Literal["raw", "pooled", "projections"]


@dataclass(frozen=True)
class Summary:
    """A response's pooled residuals or scores by one reader; float32.

    Attributes:
        values: pooled: `[layers, d_model]`, the mean over tokens; projections: `[vectors, layers, tokens]`, the scores.
        norms: the length of the residual at each token.
        vectors: for projections, the hash of each vector's file.
        null_means: for projections, the mean on each vector's random directions; a vector with fewer has NaN.
    """

    keep: Keep
    values: Float[Tensor, "..."]
    norms: Float[Tensor, "layers tokens"]
    layers: tuple[int, ...]
    token_ids: tuple[int, ...]
    vectors: tuple[str, ...]
    fingerprint: str
    null_means: Float[Tensor, "vectors layers null"] | None = None

    def to_bytes(self) -> bytes:
        """The content of its file; the same values always give the same bytes."""
        content = {
            "keep": self.keep,
            "values": self.values.clone().contiguous(),
            "norms": self.norms.clone().contiguous(),
            "layers": list(self.layers),
            "token_ids": list(self.token_ids),
            "vectors": list(self.vectors),
            "fingerprint": self.fingerprint,
        }
        if self.null_means is not None:
            content["null_means"] = self.null_means.clone().contiguous()
        return torch_bytes(content)


def pool(resid: Float[Tensor, "layers tokens d_model"]) -> Float[Tensor, "layers d_model"]:
    """The mean over tokens (NaN for a response without any)."""
    return resid.float().mean(dim=1)


def score(
    resid: Float[Tensor, "layers tokens d_model"], directions: Float[Tensor, "vectors layers d_model"]
) -> Float[Tensor, "vectors layers tokens"]:
    """`resid · v / |v|` at every layer and token, in residual units."""
    return torch.einsum("ltd,vld->vlt", resid.float(), unit(directions.float()))


def score_means(
    means: Float[Tensor, "layers d_model"], directions: Float[Tensor, "vectors layers null d_model"]
) -> Float[Tensor, "vectors layers null"]:
    """The mean score on random directions: that of a mean residual, since projecting is linear."""
    return torch.einsum("ld,vlkd->vlk", means.float(), unit(directions.float()))


def load_summary(path: Path) -> Summary:
    """Read a summary.

    Raises:
        InputError: missing, torn, or no summary.
    """
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
        lists = {name: tuple(content[name]) for name in ("layers", "token_ids", "vectors")}
        return Summary(**{**content, **lists})
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; run the phase that makes it") from None
    except (RuntimeError, LookupError, TypeError, ValueError, EOFError, OSError, UnpicklingError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0][:120]
        raise InputError(f"{path} is torn or no summary ({reason}); run the phase that makes it again") from None
