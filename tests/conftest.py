"""Shared fixtures: where the real data lies, and runtime checks of the shapes in signatures."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

# PEP 484's numeric tower: an int is a float, so that `epochs=10` may be written
install_import_hook("hydromae", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data; the test is skipped, with a reason, where it is absent."""
    default = Path(__file__).parents[1] / ".." / "shared" / "data"
    folder = Path(os.environ.get("HYDROMAE_DATA", default)).resolve()
    if not (folder / "camels_gb_daily.nc").is_file():
        pytest.skip(f"real data not found in {folder}; set HYDROMAE_DATA")
    return folder
