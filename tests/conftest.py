"""Shared fixtures: where the real data lies, a browser, and runtime checks of the shapes in signatures."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jaxtyping import install_import_hook

if TYPE_CHECKING:
    from playwright.sync_api import Browser

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


@pytest.fixture(scope="module")  # its event loop runs until it is closed, and other tests of the process need their own
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    from playwright.sync_api import sync_playwright

    from browsing import ARGUMENTS, chromium

    found = chromium()
    if found is None:
        if os.environ.get("HYDROMAE_BROWSER") == "required":
            pytest.fail(
                "no Chromium on the path, and HYDROMAE_BROWSER is 'required'; install it or set HYDROMAE_CHROMIUM"
            )
        pytest.skip("no Chromium on the path; install it, or set HYDROMAE_CHROMIUM")
    with sync_playwright() as play:
        opened = play.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield opened
        opened.close()
