"""What packagers need: the conda recipe says what pyproject.toml says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

import hydromae

ROOT = Path(__file__).parents[1]
RECIPE = yaml.safe_load((ROOT / "packaging" / "conda" / "recipe.yaml").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONDA_NAMES = {"torch": "pytorch"}


def as_conda(requirement: str) -> str:
    """A requirement of PyPI under its name at conda-forge."""
    found = re.fullmatch(r"([\w-]+)([<>=!~].*)", requirement)
    assert found, requirement
    name, versions = found.groups()
    return f"{CONDA_NAMES.get(name, name)} {versions}"


def test_the_recipe_has_the_version_and_the_requirements_of_the_project() -> None:
    project = PROJECT["project"]
    assert RECIPE["context"]["version"] == hydromae.__version__
    expected = {f"python {project['requires-python']}", *map(as_conda, project["dependencies"])}
    assert set(RECIPE["requirements"]["run"]) == expected
    assert set(map(as_conda, PROJECT["build-system"]["requires"])) <= set(RECIPE["requirements"]["host"])


def test_the_recipe_says_what_it_is_and_starts_the_same_command() -> None:
    project = PROJECT["project"]
    assert (RECIPE["about"]["summary"], RECIPE["about"]["license"]) == (project["description"], project["license"])
    assert (ROOT / RECIPE["about"]["license_file"]).is_file()
    starts = [f"{name} = {target}" for name, target in project["scripts"].items()]
    assert RECIPE["build"]["python"]["entry_points"] == starts
