"""Model cards: a README with metadata for the Hugging Face hub."""

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
    "Daily values. The model was trained on the weather and the rivers of its record: the bias of another weather product "
    "passes to its predictions, and the scores do not cover other countries, later decades or larger extremes. "
    "`hydromae evaluate` computes the coverage of its intervals."
)
MAX_CARD_BYTES = 2**20
"""Largest size of a card that is read [bytes]."""


def model_card(
    network: nn.Module,
    config: Config,
    name: str = "hydromae",
    *,
    datasets: Sequence[str] = (),
    licence: str | None = None,
    scores: Mapping[str, float] | None = None,
) -> str:
    """Text of a model card.

    Args:
        network, config: Network and configuration of the model.
        name: Title of the card.
        datasets: Training data, such as a name with a DOI.
        licence: Licence of the weights, as the hub spells it (`apache-2.0`); None is `unknown`.
        scores: Median NSE over catchments by question.
    """
    from huggingface_hub import ModelCardData  # a slow import, needed only where a card is written

    head = ModelCardData(
        library_name="hydromae",
        license=licence or "unknown",
        tags=list(TAGS),
        datasets=list(datasets) or None,
        metrics=["nse"] if scores else None,
    ).to_yaml()
    parts = (
        f"---\n{head}\n---\n# {name}",
        f"A model of hydromae {__version__}: it fills every NaN of a daily water record with a distribution. "
        f'`hydromae.load("FOLDER").predict(table)`, where FOLDER is the path of this folder.',
        "## Trained on\n" + _trained_on(config, datasets),
        "## Settings\n" + _settings(network, config),
        "## Scores\n" + _scores(scores),
        "## Limits\n" + LIMITS,
    )
    return "\n\n".join(parts) + "\n"


def read_card(folder: Path) -> str | None:
    """The text of the card of a folder, None if it has none."""
    file = folder / MODEL_CARD
    if not file.is_file() or file.stat().st_size > MAX_CARD_BYTES:
        return None
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({first_line(error)}); restore or delete the file") from error


def write_model_folder(folder: Path, write: Callable[[Path], None], card: str, replace_card: bool) -> None:
    """Write a model, its checksums and its card into a folder; files of an earlier model are replaced, others stay.

    Args:
        folder: A new folder, an empty one, or a model folder.
        write: Writes the files of the model into a folder.
        card: Written if the folder has no card, or if `replace_card` is True.
        replace_card: Replace an existing card.

    Raises:
        InputError: The folder is a run, a checkpoint or a store, contains files of these names that are not of a model, or is
            not writable.
    """
    with reserve_output(output_folder(folder, MODEL)):
        writes_card = _replaces_card(folder, replace_card)
        with atomic_files(folder, (*MODEL.owned, *([MODEL_CARD] if writes_card else [])), WEIGHTS) as partial:
            write(partial)
            write_checksums(partial)
            if writes_card:
                (partial / MODEL_CARD).write_text(card, encoding="utf-8")


def _replaces_card(folder: Path, replace_card: bool) -> bool:
    """True if a card is written: the folder has none, or it is to be replaced.

    Raises:
        InputError: The card is to be replaced, but the `README.md` is not a card of hydromae.
    """
    card = read_card(folder)
    if card is None and not (folder / MODEL_CARD).exists():
        return True
    if replace_card and "library_name: hydromae" not in (card or ""):
        raise InputError(f"{folder / MODEL_CARD}: not a model card of hydromae; move the file, or name another folder")
    return replace_card


def _trained_on(config: Config, datasets: Sequence[str]) -> str:
    dataset_names = ", ".join(datasets) or "the training data are not named"
    first, last = config.data.training_period
    validation_days = " to ".join(config.data.validation_period)
    return (
        f"{dataset_names[0].upper()}{dataset_names[1:]}. Training period: {first} to {last}, as far as the record covers it; "
        f"validation period: {validation_days}. Held-out catchments: {len(config.data.held_out)}."
    )


def _settings(network: nn.Module, config: Config) -> str:
    weights = sum(value.numel() for value in network.parameters())
    lines = [
        f"- modalities: {', '.join(config.model.modalities)}; targets in training: "
        f"{', '.join(config.masks.target_modalities) or 'all'}",
        f"- {weights:,} parameters; windows of {config.data.sequence_length} days",
        f"- {config.train.epochs:g} epochs, batches of {config.train.batch_size} windows, learning rate "
        f"{config.optimizer.lr:g}, precision {config.train.precision}, seed {config.train.seed}",
    ]
    return "\n".join([*lines, "- everything else: `config.json`, `scaling.json`"])


def _scores(scores: Mapping[str, float] | None) -> str:
    if not scores:
        return (
            "Not evaluated. `hydromae evaluate RECORD --model FOLDER --out scores` scores the model on the tasks of the "
            "protocol."
        )
    rows = [f"| {question} | {value:.3f} |" for question, value in scores.items()]
    return "\n".join(["| question | median NSE over catchments |", "|---|---|", *rows])
