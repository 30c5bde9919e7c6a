"""Where a model runs, and on how many CPU threads: the bits of a sum depend on it, so it is part of the settings."""

from typing import TYPE_CHECKING

from interp.config import Experiment
from interp.layers import check_layers

if TYPE_CHECKING:
    from interp.models import LanguageModel


def load_clean_reader(experiment: Experiment, device: str | None, threads: int | None) -> "LanguageModel":
    """The clean reader, on the given device and threads, else the config's.

    Raises:
        InputError: it has not got the layers of the config.
    """
    from interp.models import load_language_model, set_threads

    set_threads(threads or experiment.config.threads)
    model = load_language_model(experiment.base_spec(experiment.config.clean_reader), device)
    check_layers(experiment.config.layers, model.n_layers, model.spec.model)
    return model
