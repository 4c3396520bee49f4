"""A copy of a model with the simulation LSTMs of several runs as its members (`model.lstm_members`).

    hydromae finetune STORE --model gb-rivers --out first --trainable lstm ...
    hydromae finetune STORE --model gb-rivers --out second --trainable lstm --reinit-lstm --seed 1 ...
    python benchmarks/join_lstms.py first second joined
    hydromae finetune STORE --model joined --out RUN --trainable lstm ...

All other weights are those of the first run. Its autoregressive LSTM never read the mean of the members, so the copy is to be
trained further.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hydromae.errors import InputError
from hydromae.inference.predictor import Model, load
from hydromae.inference.widening import widening_files
from hydromae.model.mae import HydroMAE
from hydromae.model.serialization import write_model

FIRST, MORE = "rainfall_runoff.simulation.", "rainfall_runoff.more_simulations."


def write_joined(models: list[Model], folder: Path) -> None:
    """Write the copy into a new folder.

    Raises:
        InputError: The models have different configurations, or a model has several members itself.
    """
    first, configs = models[0], [model.config.model for model in models]
    for model in models[1:]:
        if model.config.model != first.config.model or model.scaling != first.scaling:
            raise InputError(f"{model.name}: has another configuration than {first.name}; join runs of one model")
    if configs[0].lstm_members > 1:
        raise InputError(f"{first.name}: has {configs[0].lstm_members} members already; join models with one")
    config = first.config.having(model={"lstm_members": len(models)})
    weights = dict(first.network.state_dict())
    for index, model in enumerate(models[1:]):
        state = model.network.state_dict()
        weights |= {
            f"{MORE}{index}.{name.removeprefix(FIRST)}": state[name] for name in state if name.startswith(FIRST)
        }
    HydroMAE(config).load_state_dict(weights)
    folder.mkdir(parents=True)
    write_model(folder, weights, config, first.scaling, first.grid, widening_files(first.widening))


def main() -> None:
    """Write the copy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="names or folders of models with LSTMs")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    write_joined([load(model, "cpu") for model in options.models], options.out)
    print(options.out)


if __name__ == "__main__":
    main()
