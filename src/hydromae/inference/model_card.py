"""The card of a model: what is known of it, as a README that people read and whose head programs read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import nn

from hydromae import __version__
from hydromae.config import Config
from hydromae.errors import InputError, first_line
from hydromae.io.atomic import atomic_files
from hydromae.io.folders import MODEL, WEIGHTS
from hydromae.io.outputs import output_folder, reserve_output
from hydromae.model.checksums import MODEL_CARD, write_checksums

TAGS = ("hydrology", "river flow", "masked autoencoder", "gap filling", "forecasting", "ungauged")
LIMITS = (
    "Daily values. What it learnt is the weather and the rivers of its record: another product's bias goes through, and "
    "other countries, later decades and extremes beyond the record are not covered by any figure above. Intervals are "
    "the model's own; `hydromae evaluate` says how often they hold."
)
MAX_CARD_BYTES = 2**20
"""Bytes of a card that is read; a longer one is none."""


def model_card(
    network: nn.Module,
    config: Config,
    name: str = "hydromae",
    *,
    datasets: Sequence[str] = (),
    licence: str | None = None,
    scores: Mapping[str, float] | None = None,
) -> str:
    """The text of a card, from what the model itself says and what its maker adds; nothing is guessed.

    Args:
        network, config: Of the model.
        name: Its title.
        datasets: What it was trained on, such as a name with a DOI.
        licence: Of the weights, as the hub spells it (`apache-2.0`); `unknown` where it is not given.
        scores: Median NSE over catchments, by question.
    """
    from huggingface_hub import ModelCardData  # takes a while, and only a folder that is written needs it

    head = ModelCardData(
        library_name="hydromae",
        license=licence or "unknown",
        tags=list(TAGS),
        datasets=list(datasets) or None,
        metrics=["nse"] if scores else None,
    ).to_yaml()
    parts = (
        f"---\n{head}\n---\n# {name}",
        f"A model of hydromae {__version__}: daily water records with NaN in, distributions out. "
        f'`hydromae.load("FOLDER").predict(table)`, with the path of this folder.',
        "## Trained on\n" + _trained_on(config, datasets),
        "## Settings\n" + _settings(network, config),
        "## Scores\n" + _scores(scores),
        "## Limits\n" + LIMITS,
    )
    return "\n\n".join(parts) + "\n"


def read_card(folder: Path) -> str | None:
    """The card of a folder, None where it has none."""
    file = folder / MODEL_CARD
    if not file.is_file() or file.stat().st_size > MAX_CARD_BYTES:
        return None
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({first_line(error)}); restore it, or delete it") from error


def write_model_folder(folder: Path, write: Callable[[Path], None], card: str, replace_card: bool) -> None:
    """Put a model, its seal and its card into a folder, in place of those of an earlier model; the rest stays.

    Args:
        write: Writes the files of the model into a folder.
        card: Written where there is none, or where `replace_card` is True.

    Raises:
        InputError: The folder is a run, a checkpoint or a store, holds files of these names that are no model, or is not
            writable.
    """
    with reserve_output(output_folder(folder, MODEL)):
        writes_card = _replaces_card(folder, replace_card)
        with atomic_files(folder, (*MODEL.owned, *([MODEL_CARD] if writes_card else [])), WEIGHTS) as partial:
            write(partial)
            write_checksums(partial)
            if writes_card:
                (partial / MODEL_CARD).write_text(card, encoding="utf-8")


def _replaces_card(folder: Path, replace_card: bool) -> bool:
    """Whether a model that is saved into a folder writes its card there: where there is none, or where that is asked for.

    Raises:
        InputError: It is asked for, but a `README.md` lies there that is no card.
    """
    held = read_card(folder)
    if held is None and not (folder / MODEL_CARD).exists():
        return True
    if replace_card and "library_name: hydromae" not in (held or ""):
        raise InputError(f"{folder / MODEL_CARD}: is no card of hydromae; move it, or name another folder")
    return replace_card


def _trained_on(config: Config, datasets: Sequence[str]) -> str:
    dataset_names = ", ".join(datasets) or "the data are not named: whoever trained it knows"
    first, last = config.data.training_period
    validation_days = " to ".join(config.data.validation_period)
    held = len(config.data.held_out)
    return (
        f"{dataset_names[0].upper()}{dataset_names[1:]}. Days {first} to {last}, of what the record has of them; the "
        f"epoch was chosen on {validation_days}. {held} catchments were held out of every sample."
    )


def _settings(network: nn.Module, config: Config) -> str:
    weights = sum(value.numel() for value in network.parameters())
    lines = [
        f"- modalities: {', '.join(config.model.modalities)}; answered in training: "
        f"{', '.join(config.masks.target_modalities) or 'all'}",
        f"- {weights:,} weights; windows of {config.data.sequence_length} days",
        f"- {config.train.epochs:g} epochs, batches of {config.train.batch_size} windows, learning rate "
        f"{config.optimizer.lr:g}, precision {config.train.precision}, seed {config.train.seed}",
    ]
    return "\n".join([*lines, "- everything else: `config.json`, `scaling.json`"])


def _scores(scores: Mapping[str, float] | None) -> str:
    if not scores:
        return (
            "None are known. `hydromae evaluate RECORD --model FOLDER --out scores` asks the questions of the protocol."
        )
    rows = [f"| {question} | {value:.3f} |" for question, value in scores.items()]
    return "\n".join(["| question | median NSE over catchments |", "|---|---|", *rows])
