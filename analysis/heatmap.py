"""A matrix of effects as a picture."""

import io
from collections.abc import Sequence
from pathlib import Path

from interp.files import write_bytes
from interp.stats import Floats


def save_heatmap(
    path: Path, authors: Sequence[str], traits: Sequence[str], effects: Floats, truth: Sequence[str | None], what: str
) -> None:
    """Authors by traits, the largest entry of each row written out, what was planted framed; `what` is the title."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(2.5 + 0.48 * len(traits), 1.8 + 0.34 * len(authors)), layout="constrained")
    image = axes.imshow(effects, cmap="viridis", aspect="auto")
    axes.set_xticks(range(len(traits)), traits, rotation=40, ha="right")
    axes.set_yticks(range(len(authors)), authors)
    axes.set_xlabel("trait vector")
    axes.set_ylabel("organism")
    for row, values in enumerate(effects):
        best = int(values.argmax())
        dark = values[best] < (effects.min() + effects.max()) / 2
        axes.text(
            best, row, f"{values[best]:.1f}", ha="center", va="center", fontsize=8, color="white" if dark else "black"
        )
        if truth[row] in traits:
            frame = plt.Rectangle((traits.index(str(truth[row])) - 0.5, row - 0.5), 1, 1, fill=False, ec="red", lw=1.6)
            axes.add_patch(frame)
    figure.colorbar(image, label="effect: largest tenth of paired differences / SD", shrink=0.8)
    axes.set_title(f"{what} (red: planted; number: the row's largest)", fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, metadata={"Software": None})
    plt.close(figure)
    write_bytes(path, buffer.getvalue())
