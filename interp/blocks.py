"""Finding the decoder blocks of any Hugging Face causal language model, by shape rather than by name."""

from typing import Literal

from torch import nn

from interp.errors import InputError

Site = Literal["residual", "mlp", "attention"]

_SITE_NAMES: dict[Site, tuple[str, ...]] = {
    "mlp": ("mlp", "feed_forward", "block_sparse_moe"),
    "attention": ("self_attn", "attention", "attn"),
}


def find_blocks(model: nn.Module) -> nn.ModuleList:
    """The decoder blocks: the one ModuleList that is as long as the text config's `num_hidden_layers`.

    Works through peft's wrappers and for text models inside multimodal ones.

    Raises:
        InputError: none, or several, fit.
    """
    config = model.config.get_text_config()  # type: ignore[union-attr, operator]
    found = [
        module
        for module in model.modules()
        if isinstance(module, nn.ModuleList) and len(module) == config.num_hidden_layers and _are_blocks(module)
    ]
    if len(found) != 1:
        raise InputError(
            f"{type(model).__name__}: expected one list of {config.num_hidden_layers} decoder blocks, "
            f"found {len(found)}; this architecture is not supported"
        )
    return found[0]


def find_site(block: nn.Module, site: Site) -> nn.Module:
    """The module whose output is the site: the block itself, its MLP, or its attention.

    MLP and attention outputs are taken before any norm that follows them (Gemma has one).

    Raises:
        InputError: the block has no such part.
    """
    if site == "residual":
        return block
    for name in _SITE_NAMES[site]:
        part = getattr(block, name, None)
        if isinstance(part, nn.Module):
            return part
    raise InputError(f"{type(block).__name__} has no {site} among {', '.join(_SITE_NAMES[site])}")


def find_backbone(model: nn.Module) -> nn.Module:
    """The model without its LM head: the smallest module that holds the blocks and the embedding."""
    blocks = find_blocks(model)
    embedding = model.get_input_embeddings()  # type: ignore[operator]
    holders = [
        module for module in model.modules() if _holds(module, blocks) and _holds(module, embedding)
    ]
    return min(holders, key=lambda module: sum(1 for _ in module.modules()))


def _are_blocks(modules: nn.ModuleList) -> bool:
    return any(isinstance(getattr(modules[0], name, None), nn.Module) for name in _SITE_NAMES["attention"])


def _holds(module: nn.Module, part: nn.Module) -> bool:
    return module is not part and any(inner is part for inner in module.modules())
