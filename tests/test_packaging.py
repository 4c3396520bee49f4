"""What packagers need: the conda recipe and the container file say what pyproject.toml says."""

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


def test_the_container_has_the_python_and_the_torch_of_the_project_and_starts_its_command() -> None:
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    base = re.search(r"^FROM docker\.io/library/python:(\d+)\.(\d+)-slim$", text, re.MULTILINE)
    bounds = re.fullmatch(r">=(\d+)\.(\d+),<(\d+)\.(\d+)", PROJECT["project"]["requires-python"])
    assert base and bounds
    low, high = (tuple(map(int, bounds.groups()[first : first + 2])) for first in (0, 2))
    assert low <= tuple(map(int, base.groups())) < high
    torch = re.search(r"^TORCH := (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert torch and f"{torch[1]} --index-url https://download.pytorch.org/whl/cpu" in text
    start = re.search(r'^ENTRYPOINT \["(\w+)"\]$', text, re.MULTILINE)
    assert start and start[1] in PROJECT["project"]["scripts"]


def test_the_container_is_built_from_what_the_wheel_needs_and_nothing_else() -> None:
    words = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    taken = {word[1:] for word in words if word.startswith("!")}
    project = PROJECT["project"]
    assert "*" in words and {"pyproject.toml", project["readme"], *project["license-files"], "src"} == taken
    assert all((ROOT / name).exists() for name in taken)
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert all(place.startswith("src/") for place in (*packages, PROJECT["tool"]["hatch"]["version"]["path"]))


def test_no_requirement_pins_a_version_or_a_build_for_one_kind_of_device() -> None:
    project = PROJECT["project"]
    every = [*project["dependencies"], *(one for held in project["optional-dependencies"].values() for one in held)]
    assert [one for one in every if re.search(r"==|\+cu|nvidia|cuda|@", one)] == []


def test_the_package_is_typed_and_the_wheel_has_its_marker_and_its_other_files() -> None:
    """Hatchling puts every file of the package that git does not ignore into the wheel."""
    package = ROOT / "src" / "hydromae"
    assert (package / "py.typed").read_bytes() == b""
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["src/hydromae"]}
    assert hydromae.__all__ == ["__version__", "load", "plot"] and all(
        hasattr(hydromae, name) for name in hydromae.__all__
    )
