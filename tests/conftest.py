"""Shared fixtures: where the real data lies, and runtime checks of the shapes in signatures."""

import os
import sys
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
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


@pytest.fixture(scope="session")
def extensions(request: pytest.FixtureRequest) -> Path:
    """A user's cache in which DeepSpeed's extension is built: once for all runs of the tests, before any limit runs."""
    folder = Path(request.config.cache.mkdir("extensions"))
    if find_spec("deepspeed") is not None:
        with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
            warnings.simplefilter("ignore")  # what DeepSpeed says of itself at import
            patch.delenv("TORCH_EXTENSIONS_DIR", raising=False)
            patch.setenv("XDG_CACHE_HOME", str(folder))
            patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")  # ninja is there
            from hydromae.train.deepspeed_engine import load_extension

            load_extension(1200, lambda line: None)
    return folder


@pytest.fixture(scope="module")
def built_extension(extensions: Path) -> Iterator[None]:
    """Processes that a module's tests fork find DeepSpeed's extension."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("TORCH_EXTENSIONS_DIR", raising=False)
        patch.setenv("XDG_CACHE_HOME", str(extensions))
        yield
