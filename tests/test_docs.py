"""What README and docs say works: every command runs here or names the test that runs it, code runs, links lead somewhere."""

from __future__ import annotations

import doctest
import importlib
import re
import subprocess
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from docs_record import prepare_folder, run, run_page
from hydromae.cli import COMMANDS
from pages import DOCS, ROOT, blocks, commands, links, listed, pages, prose

LAUNCHED = "tests/test_launch.py::test_one_process_and_torchrun_learn_the_same"
TWO = "tests/test_launch.py::test_two_experiments_at_once_with_deepspeed"
SEED = "tests/data/test_seed_prepare.py::test_from_nothing_to_a_store_on_the_command_line"
DOWNLOADED = "tests/test_starting_points.py::test_the_shipped_model_answers_what_was_downloaded"
SEEDED = "tests/test_starting_points.py::test_the_seeds_files_are_prepared_trained_on_and_answered"
ELSEWHERE: dict[str, str] = {
    r"hydromae convert-config ORIGINAL\.py --out mine\.py": (
        "tests/test_cli_convert.py::test_the_specifications_own_numbers_become_the_specifications_configuration"
    ),
    r"python benchmarks/skill_picture.py scores .*": (
        "tests/test_benchmarks_skill.py::test_pictures_and_tables_have_the_rows_that_are_named_and_groups_of_rivers"
    ),
    r"python benchmarks/past_weather\.py rivers\.zarr": (
        "tests/test_benchmarks_past_weather.py::test_each_forecast_lacks_what_it_names"
    ),
    r"python benchmarks/join_lstms\.py [a-z/-]+ [a-z/-]+ --celsius 5": (
        "tests/test_benchmarks_counterfactual.py::test_a_copy_with_limited_temperature_has_the_weights_of_the_model"
    ),
    r"python benchmarks/mean_flow\.py --store rivers\.zarr --period [a-z]+": (
        "tests/test_benchmarks_mean_flow.py::test_each_share_is_scored_beside_the_model"
    ),
    r"python benchmarks/spot_gaugings\.py --store rivers\.zarr --period [a-z]+": (
        "tests/test_benchmarks_spot.py::test_methods_are_scored_on_the_same_other_days"
    ),
    r"python benchmarks/counterfactual\.py rivers\.zarr counterfactual\.zarr": (
        "tests/test_benchmarks_counterfactual.py::test_the_command_writes_a_store_to_train_on"
    ),
    r"python benchmarks/maps\.py --model gb-national .*": (
        "tests/test_benchmarks_maps.py::test_a_model_is_scored_beside_the_others"
    ),
    r"python benchmarks/table_pictures\.py": (
        "tests/test_benchmarks_pictures.py::test_the_pictures_of_the_pages_are_drawn_from_their_tables"
    ),
    r"python benchmarks/mutations\.py": (
        "tests/test_seed.py::test_the_command_runs_the_chosen_rows_and_fails_if_a_mutation_survives"
    ),
    r"python benchmarks/short_records.py (fit|score) .*": (
        "tests/test_benchmarks_short.py::test_factors_are_fitted_and_cells_are_scored"
    ),
    r"hydromae predict FOLDER --model gb-rivers --out answer\.csv": (
        "tests/data/test_map_weather.py::test_a_table_beside_maps_comes_back_as_it_is"
    ),
    r"hydromae prepare FOLDER rivers\.zarr --shape catchments": (
        "tests/data/test_map_weather.py::test_prepare_predict_and_a_national_store_read_the_same_weather"
    ),
    r"hydromae prepare FRANCE france\.zarr .*": "tests/data/test_prepare.py::test_catchment_store",
    r"hydromae pretrain national\.zarr --preset fast .* --model\.estimators .*": (
        "tests/model/test_flow_estimates.py::test_estimates_change_the_answers_of_a_model_of_groups_and_are_trained"
    ),
    r"hydromae finetune national\.zarr --model refs/pretrained-0 .*": (
        "tests/test_cli_finetune.py::test_a_model_of_random_masks_on_all_modalities_is_asked_for_flow"
    ),
    r"hydromae finetune france\.zarr --model gb-rivers --out france .*": (
        "tests/test_cli_finetune.py::test_options_reach_the_configuration_and_what_is_not_given_is_the_runs"
    ),
    r"hydromae (evaluate france\.zarr|predict QUESTION\.nc) --model france .*": (
        "tests/train/test_finetune.py::test_hydromae_load_reads_a_lora_run_as_any_model"
    ),
    r"hydromae evaluate france\.zarr --protocol france --out france": (
        "tests/test_cli_models.py::test_the_protocol_for_france_scores_gaps_and_simulation"
    ),
    r"make (venv|demo|test)": "tests/test_docs.py::test_make_targets_do_what_the_pages_say",
    r"hydromae fetch nrfa .*": "tests/test_fetch.py::test_stations_of_the_nrfa_become_a_record_and_are_fetched_once",
    r"hydromae (fetch ea|forecast flow|verify issued flow) .*": (
        "tests/test_every_morning.py::test_two_mornings_of_ten_stations"
    ),
    r"hydromae virtual raw --layout seed": SEED,
    r"hydromae prepare raw \S+ --layout seed": SEED,
    r"deepspeed --num_gpus=4 train_mae.py.*": TWO,
    r"deepspeed --include localhost:\d,\d --master_port \d+ train_mae.py --config configs/mae_config_exp[12].py": TWO,
    r"torchrun --nproc_per_node=4 train_mae.py --config configs/mae_config_exp1.py": LAUNCHED,
    r"OMP_NUM_THREADS=1 torchrun --nproc_per_node=2 -m hydromae pretrain .* --engine torch": LAUNCHED,
    r"OMP_NUM_THREADS=1 torchrun --nproc_per_node=2 -m hydromae finetune .*": (
        "tests/test_launch.py::test_two_processes_finetune_as_one"
    ),
    r"OMP_NUM_THREADS=1 hydromae finetune (rivers|france)\.zarr .* --(reinit-lstm|oof-runs|trainable all-but-lstm) .*": (
        "tests/test_cli_finetune.py::test_the_rest_is_taught_beside_memories_that_were_kept_from_its_rivers"
    ),
    r"OMP_NUM_THREADS=1 hydromae finetune (counterfactual|rivers|france)\.zarr --model [a-z/-]+ .* --trainable lstm .*": (
        "tests/test_cli_finetune.py::test_what_learns_is_said_and_lora_keeps_the_learning_rate"
    ),
    r"hydromae finetune rivers\.zarr --model gb-rivers --near 39001 --out near-39001": (
        "tests/test_cli_finetune.py::test_near_a_river_the_heads_are_trained_on_it_and_its_neighbours"
    ),
    r"hydromae prepare ours ours.zarr --attributes gauges.csv": (
        "tests/test_docs_extend.py::test_the_product_of_the_page_is_prepared"
    ),
    r"hydromae explore rivers.zarr --model (gb-rivers|run --scores scores)": (
        "tests/explore/test_export.py::test_the_command_serves_until_it_is_ended"
    ),
    r"hydromae explore rivers.zarr --model run --export page.html .*": (
        "tests/explore/test_export.py::test_the_command_writes_a_file_with_the_shipped_model"
    ),
    r"hydromae prepare (thames|camels-gb|caravan) rivers.zarr": DOWNLOADED,
    r"hydromae predict rivers.zarr --model gb-rivers --out answer.nc": DOWNLOADED,
    r"python benchmarks/starting_points.py --data FOLDER": DOWNLOADED,
    r"hydromae pretrain national.zarr --out run --preset tiny": SEEDED,
    r"hydromae predict national.zarr --model run --out answer.nc": SEEDED,
    r"hydromae prepare FOLDER national.zarr": "tests/data/test_mapped.py::test_maps_and_gauges_become_a_national_store",
    r"hydromae prepare maps national.zarr --shape national .*": (
        "tests/data/test_mapped.py::test_real_rain_of_12_km_beside_camels_gb"
    ),
    r"hydromae prepare DATA derived\.zarr --shape national .*": (
        "tests/data/test_mapped.py::test_real_rain_of_12_km_beside_camels_gb"
    ),
    r"python benchmarks/national\.py score .*": (
        "tests/test_benchmarks_national.py::test_flow_is_scored_with_the_weather_that_is_named"
    ),
    r"hydromae forecast rivers\.zarr .* --out hindcast\.nc": (
        "tests/test_cli_tables.py::test_a_forecast_is_a_long_table_in_the_units_of_the_question"
    ),
    r"python benchmarks/skill_csv\.py scores --prefix test_period --store rivers\.zarr": (
        "tests/test_benchmarks_skill.py::test_pictures_and_tables_have_the_rows_that_are_named_and_groups_of_rivers"
    ),
    r"(OMP_NUM_THREADS=1 )?python benchmarks/few_gauges.py (score|train) .*": (
        "tests/test_benchmarks_few.py::test_every_way_is_trained_and_scored"
    ),
    r"(OMP_NUM_THREADS=1 )?python benchmarks/new_country.py (score|train) .*": (
        "tests/test_benchmarks_country.py::test_all_ways_are_trained_once_and_scored"
    ),
    r"(OMP_NUM_THREADS=1 )?python benchmarks/arms.py (score|train) .*": (
        "tests/test_benchmarks_arms.py::test_arms_that_have_ended_are_scored_side_by_side"
    ),
    r"(OMP_NUM_THREADS=1 )?python benchmarks/folds.py (score|train) .*": (
        "tests/test_benchmarks_folds.py::test_each_fold_is_answered_by_the_model_that_never_saw_it"
    ),
    r"python benchmarks/join_lstms\.py [a-z/-]+ [a-z/-]+ [a-z/-]+": (
        "tests/test_benchmarks_counterfactual.py::test_joined_runs_are_members_of_a_copy"
    ),
    r"(OMP_NUM_THREADS=1 )?python benchmarks/published.py (score|train) .*": (
        "tests/test_benchmarks_published.py::test_rivers_with_a_published_score_are_compared"
    ),
    r"python benchmarks/peers.py .*": "tests/test_benchmarks_peers.py::test_peers_are_scored_on_the_same_rivers",
    r"(python|OMP_NUM_THREADS=1 python) benchmarks/skill.py (score|train) .*": (
        "tests/test_benchmarks_skill.py::test_what_is_trained_is_kept_and_asked_its_own_questions"
    ),
}
"""Commands that are run by another test, by pattern: they need a server, several processes, or hours."""

TARGETS = {
    "venv": "pip install",
    "demo": "hydromae demo",
    "test": "-m pytest",
    "check": "ruff check",
    "docs": "-m sphinx",
    "bench": "benchmarks/table.py",
    "bench-quick": "benchmarks/compare.py",
}
"""What each target of make that a page names runs in the end; the programs have tests of their own."""

CHANGED = ("docs/extend/variable.md", "docs/extend/mask.md")
"""Pages whose code is an edit of the package: `tests/test_docs_extend.py` makes it, and runs their commands."""


def elsewhere(command: str) -> str | None:
    """The test that runs a command, None where it is run here."""
    plain = " ".join(command.split())
    return next((test for pattern, test in ELSEWHERE.items() if re.fullmatch(pattern, plain)), None)


def having_code(page: Path) -> bool:
    return bool(commands(page)) or any(block.language == "python" for block in blocks(page))


RUN = [page for page in pages() if having_code(page) and str(page) not in CHANGED and page.name not in ("design.md",)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages' placeholders stand for, on a small invented record."""
    return prepare_folder(tmp_path_factory.mktemp("given"))


@pytest.mark.parametrize("page", [str(page) for page in RUN])
def test_code_and_commands_of_a_page_run_in_order(
    page: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    skipped, names = run_page(Path(page), folder, tmp_path, elsewhere)
    assert all(elsewhere(command) for command in skipped)
    if page == "README.md":
        assert names["filled"]["riverflow"].notna().all()
        assert (names["filled"]["riverflow_origin"] == 3).sum() == 400


def test_commands_of_the_design_are_those_of_the_pages() -> None:
    """The design shows the form of two commands; the page of the question runs them."""
    shown = {tuple(re.findall(r"(?:^hydromae \w+|--\w+)", command)) for command in commands(Path("docs/design.md"))}
    held = {
        tuple(re.findall(r"(?:^hydromae \w+|--\w+)", command))
        for page in ("docs/questions/fill.md", "docs/questions/forecast.md")
        for command in commands(Path(page))
    }
    assert shown and shown <= held


def test_a_command_that_nothing_runs_is_found(tmp_path: Path) -> None:
    assert elsewhere("python new.py") is None
    for command in ("python new.py", "hydromae inspect absent.zarr", "hydromae predict --no-such-option 1"):
        with pytest.raises(AssertionError):
            run(command, tmp_path)


@pytest.mark.parametrize("test", sorted(set(ELSEWHERE.values())))
def test_the_tests_that_run_the_others_exist(test: str) -> None:
    file, _, name = test.partition("::")
    assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")


def test_every_row_of_the_table_is_needed() -> None:
    every = [" ".join(command.split()) for page in pages() for command in commands(page)]
    for pattern in ELSEWHERE:
        assert any(re.fullmatch(pattern, command) for command in every), pattern


def test_every_command_that_a_sentence_names_exists() -> None:
    for page in pages():
        named = set(re.findall(r"`hydromae ([a-z][a-z-]*)", prose(page)))
        assert named <= set(COMMANDS), page


def test_make_targets_do_what_the_pages_say() -> None:
    named = {
        t for page in pages() for t in re.findall(r"(?:`|^)make ([\w-]+)", (ROOT / page).read_text(), re.MULTILINE)
    }
    assert {"demo", "test", "docs"} <= named <= set(TARGETS)
    for target in named:
        told = subprocess.run(["make", "-Bn", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert TARGETS[target] in told.replace(".venv/bin/", ""), target


@pytest.mark.parametrize("page", [str(page) for page in pages()])
def test_links_lead_to_files_and_headings(page: str) -> None:
    for target, anchor in links(Path(page)):
        file = (ROOT / page).parent / target if target else ROOT / page
        if target.endswith(".rst"):  # the gallery, which is made of the examples
            example = "GALLERY_HEADER.rst" if target.endswith("index.rst") else Path(target).with_suffix(".py").name
            file = ROOT / "examples" / example
        assert file.is_file(), f"{page}: {target}"
        if anchor:
            heads = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in slugs, f"{page}: {target}#{anchor}"
    for name in re.findall(r"`((?:docs|configs|benchmarks|tests|src)/[\w./-]+\.\w+)`", prose(Path(page))):
        assert (ROOT / name).is_file(), f"{page}: {name}"


def test_every_page_is_in_the_contents() -> None:
    there = {str(page.relative_to("docs").with_suffix("")) for page in pages() if page.parts[0] == "docs"}
    assert listed() == (there - {"index"}) | {"gallery/index"}


def test_the_page_of_commands_has_every_command() -> None:
    shown = re.findall(r"literalinclude\} _commands/([\w-]+)\.txt", (DOCS / "commands.md").read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(COMMANDS)


def test_pictures_need_nothing_from_elsewhere() -> None:
    for picture in DOCS.rglob("pictures/*.svg"):
        text = picture.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http" not in text and "<script" not in text and "<title" in text


EXAMPLES = sorted(file.name for file in (ROOT / "examples").glob("example_*.py"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    drawn: list[int] = []
    monkeypatch.setattr(plt, "show", lambda: drawn.extend(plt.get_fignums()))
    code = (ROOT / "examples" / name).read_text(encoding="utf-8")
    exec(compile(code, name, "exec"), {"__name__": "__main__"})
    plt.close("all")
    assert drawn and not list(tmp_path.iterdir())


def test_the_real_river_of_the_gallery_lies_in_its_intervals(capsys: pytest.CaptureFixture[str]) -> None:
    code = (ROOT / "examples" / "example_6_real_river.py").read_text(encoding="utf-8").partition("# `hydromae.plot")[0]
    exec(compile(code, "real", "exec"), {})
    inside, hidden = map(int, re.findall(r"(\d+) of (\d+) hidden days", capsys.readouterr().out)[0])
    assert hidden == 11 and inside >= 9


def test_the_picture_of_the_architecture_shows_the_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    architecture = importlib.import_module("_architecture")
    graph = architecture.imports()
    assert {"io", "model", "inference", "train", "cli"} <= graph.keys() and "train" not in graph["inference"]
    assert architecture.PICTURE.read_text(encoding="utf-8") == architecture.draw(graph), "python docs/_architecture.py"
    assert architecture.direct({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == [("a", "b"), ("b", "c")]
    with pytest.raises(ValueError, match=r"circle of imports among \['a', 'b'\]"):
        architecture.floors({"a": {"b"}, "b": {"a"}, "c": set()})


EXAMPLES = [file for file in sorted((ROOT / "src").rglob("*.py")) if ">>> " in file.read_text(encoding="utf-8")]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_examples_of_docstrings_show_what_comes_out(file: Path) -> None:
    name = ".".join(file.relative_to(ROOT / "src").with_suffix("").parts)
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0 and result.failed == 0
