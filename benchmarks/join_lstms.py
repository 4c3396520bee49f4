"""A copy of a model with the LSTMs of other models: several simulation LSTMs as members, or a limit of temperature.

    python benchmarks/join_lstms.py gb-rivers limited --celsius 5
    hydromae finetune STORE --model limited --out first --trainable lstm ...
    hydromae finetune STORE --model limited --out second --trainable lstm --reinit-lstm --seed 1 ...
    python benchmarks/join_lstms.py first second joined
    python benchmarks/join_lstms.py joined national --into gb-national

The members (`model.lstm_members`) are the simulation LSTMs of all models, in their order; the autoregressive LSTM and the
limit (`model.lstm_max_temperature`) are those of the first model, and all other weights those of `--into`, by default of
the first. An LSTM that never read the inputs of the copy, such as the mean of other members or a lower temperature in
summer, is to be trained further.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hydromae.errors import InputError
from hydromae.inference.predictor import Model, load
from hydromae.inference.widening import widening_files
from hydromae.model.mae import HydroMAE
from hydromae.model.serialization import write_model

LSTMS = "rainfall_runoff."
FIRST, MORE, AUTOREGRESSIVE = f"{LSTMS}simulation.", f"{LSTMS}more_simulations.", f"{LSTMS}autoregressive."
LSTM_FIELDS = ("lstm_width", "lstm_ar_width", "d_model")


def write_joined(models: list[Model], into: Model, folder: Path, celsius: float | None = None) -> None:
    """Write the copy into a new folder; `celsius` replaces the limit of temperature.

    Raises:
        InputError: LSTMs of different widths, or models with different scaling.
    """
    first = models[0]
    for model in (*models, into):
        widths = [getattr(model.config.model, name) for name in LSTM_FIELDS]
        is_scaled = first.scaling.variables.items() <= model.scaling.variables.items()
        if widths != [getattr(first.config.model, name) for name in LSTM_FIELDS] or not is_scaled:
            raise InputError(f"{model.name}: has LSTMs of other widths or another scaling than {first.name}")
    members = [member for model in models for member in model.network.rainfall_runoff.members]
    limit = first.config.model.lstm_max_temperature if celsius is None else celsius
    config = into.config.having(model={"lstm_members": len(members), "lstm_max_temperature": limit})
    weights = {name: value for name, value in into.network.state_dict().items() if not name.startswith(LSTMS)}
    weights |= {f"{FIRST}{name}": value for name, value in members[0].state_dict().items()}
    weights |= {name: value for name, value in first.network.state_dict().items() if name.startswith(AUTOREGRESSIVE)}
    for index, member in enumerate(members[1:]):
        weights |= {f"{MORE}{index}.{name}": value for name, value in member.state_dict().items()}
    network = HydroMAE(config).set_scaling(into.scaling)  # sets the limit
    network.load_state_dict(network.state_dict() | weights)
    folder.mkdir(parents=True)
    files = widening_files(into.widening)
    write_model(folder, network.state_dict(), config, into.scaling, into.grid, files)


def main() -> None:
    """Write the copy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="names or folders of models with LSTMs")
    parser.add_argument("out", type=Path)
    parser.add_argument("--into", help="name or folder of the model with all other weights; default the first")
    parser.add_argument("--celsius", type=float, help="limit of temperature [°C]; default that of the first")
    options = parser.parse_args()
    models = [load(model, "cpu") for model in options.models]
    into = models[0] if options.into is None else load(options.into, "cpu")
    write_joined(models, into, options.out, options.celsius)
    print(options.out)


if __name__ == "__main__":
    main()
