"""A copy of a model whose LSTMs read at most a temperature on days with known evaporation, to be trained further.

    python benchmarks/limit_temperature.py gb-rivers limited --celsius 5
    hydromae finetune STORE --model limited --out RUN --trainable lstm ...

Without training the copy is worse than the model, because its LSTMs never read such temperatures in summer.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hydromae.inference.predictor import Model, load
from hydromae.inference.widening import widening_files
from hydromae.model.mae import HydroMAE
from hydromae.model.serialization import write_model


def write_limited(model: Model, folder: Path, celsius: float) -> None:
    """Write the copy into a new folder; its weights are those of the model."""
    config = model.config.having(model={"lstm_max_temperature": celsius})
    network = HydroMAE(config)
    network.load_state_dict(model.network.state_dict(), strict=False)
    network.set_scaling(model.scaling)
    folder.mkdir(parents=True)
    files = widening_files(model.widening)
    write_model(folder, network.state_dict(), config, model.scaling, model.grid, files)


def main() -> None:
    """Write the copy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="name or folder of a model with LSTMs")
    parser.add_argument("out", type=Path)
    parser.add_argument("--celsius", type=float, default=5.0)
    options = parser.parse_args()
    write_limited(load(options.model, "cpu"), options.out, options.celsius)
    print(options.out)


if __name__ == "__main__":
    main()
