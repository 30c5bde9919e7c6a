"""A smaller copy of an experiment: some of its organisms, some of its prompts, everything else as it is."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from interp.config import Experiment
from interp.files import write_json
from interp.records import PromptSet

Item = TypeVar("Item")


def cut_down(source: Experiment, root: Path, organisms: int, prompts: int, threads: int) -> Experiment:
    """Write the copy under `root`, of the same name: organisms and prompts evenly spaced, greedy, vectors included.

    The prompt sets keep their shares of `prompts`. Conversations of several turns are left out (the baseline has none).
    """
    folder = root / source.name
    kept = evenly_spaced(source.audited, organisms)
    prompt_sets = [_single_turns(prompt_set) for prompt_set in source.select_prompt_sets(None)]
    share = prompts / sum(len(prompt_set.prompts) for prompt_set in prompt_sets)
    for prompt_set in prompt_sets:
        some = evenly_spaced(prompt_set.prompts, max(1, round(share * len(prompt_set.prompts))))
        write_json(
            folder / "prompts" / f"{prompt_set.name}.json",
            prompt_set.model_copy(update={"prompts": tuple(some)}).model_dump(mode="json"),
        )
    write_json(folder / "config.json", _config(source, kept, threads))
    for name in ("traits", "vectors"):
        for place in (source.paths.home / name, source.paths.folder / name):
            if place.is_dir():
                shutil.copytree(place, folder / name, dirs_exist_ok=True)
    return Experiment(source.name, root)


def evenly_spaced(items: Sequence[Item], count: int) -> list[Item]:
    """`count` of the items in their order, the first and the last among them; all when there are fewer."""
    if count >= len(items):
        return list(items)
    if count == 1:
        return [items[0]]
    return [items[round(index * (len(items) - 1) / (count - 1))] for index in range(count)]


def _single_turns(prompt_set: PromptSet) -> PromptSet:
    prompts = tuple(prompt for prompt in prompt_set.prompts if prompt.text is not None)
    return prompt_set.model_copy(update={"prompts": prompts})


def _config(source: Experiment, kept: Sequence[str], threads: int) -> dict[str, Any]:
    """The config with places made absolute, so that the weights stay where they are."""
    config = source.config.model_dump(mode="json")
    names = [source.config.clean_reader, *kept]
    variants = {name: config["model_variants"][name] for name in names}
    for name, variant in variants.items():
        adapter = source.adapter_spec(name)
        variant.update(model=source.base_spec(name).model, adapter=adapter.adapter if adapter else None)
    greedy = {**config["sampling"], "temperature": 0.0}
    return {**config, "threads": threads, "sampling": greedy, "model_variants": variants}
