"""Commands that use a model: predict, forecast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from hydromae.cli.common import Echo, Result, check_river, command_text, draw_river, picture_output
from hydromae.cli.warning_files import DEFAULT_THRESHOLDS, requested_thresholds, table_and_page_outputs, write_warnings
from hydromae.config import Precision
from hydromae.errors import InputError
from hydromae.io.outputs import EXCEL, TABLES, Output, answer_outputs, shared_folder
from hydromae.progress import progress_callback

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from hydromae.datasets.ensemble import WeatherEnsemble
    from hydromae.inference.predictor import Model


@dataclass(frozen=True)
class Predict:
    """Predict every NaN of a record: gaps, days at its end, ungauged rivers."""

    question: Annotated[Positional[Path], arg(metavar="QUESTION")]
    """A record with NaN: .nc, .zarr, .csv or .parquet, or a folder that hydromae prepare reads."""
    model: Path
    """A run, a checkpoint, or a model folder."""
    out: Path
    """The predictions: .nc, .zarr, .csv, .parquet, or .xlsx with a sheet of flow for each river. An existing file, or an
    earlier answer in Zarr, is replaced. A table (.csv, .parquet) keeps its rows, columns, names, dates and units; new
    columns follow."""
    attributes: Path | None = None
    """Table of static attributes under the NRFA names (CSV, parquet), if the record has none."""
    units: str | None = None
    """Units of flow in a wide table (one column per river) without units, such as "m3 s-1"."""
    quantiles: tuple[float, ...] = (0.05, 0.25, 0.5, 0.75, 0.95)
    """Levels of the predicted quantiles."""
    longest_gap: Annotated[int | None, arg(metavar="DAYS")] = None
    """Fill gaps of at most this many days, also at the ends of a river's record; longer ones stay missing. Default all."""
    negative_flow: Literal["refuse", "missing"] = "refuse"
    """missing: treat negative river flow (tide, backwater) as missing instead of refusing the file."""
    daily_sums: Literal["same-day", "day-before"] | None = None
    """Day of the only ERA5-Land sum of a day in a folder with maps, if the file does not state it."""
    boundaries: Path | None = None
    """Catchment boundaries (.gpkg, .geojson, .shp) for the weather of maps in a folder; default discs of the area."""
    picture: Path | None = None
    """Also draw a river as PNG."""
    river: str | None = None
    """River of the picture; default the one with most predicted days."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    precision: Precision = "auto"
    """fp32, bf16 or fp16; auto is the training precision if the device supports it natively, else fp32."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """Return the outputs."""
        return answer_outputs(self.out) | picture_output(self.picture, self.river)

    def run(self, echo: Echo) -> Result:
        """Read, predict, write."""
        from hydromae.datasets import reader
        from hydromae.inference.long_gaps import check_longest_gap
        from hydromae.inference.predictor import load
        from hydromae.io.excel import check_workbook_size, prediction_table
        from hydromae.io.options import use_reading_options
        from hydromae.io.provenance import count_origins, provenance, value_selector, with_provenance
        from hydromae.io.value_ranges import processing_notes
        from hydromae.io.write import write_answer

        check_longest_gap(self.longest_gap)
        model = load(self.model, self.device, self.precision)
        with use_reading_options(self.negative_flow, self.daily_sums, self.boundaries):
            loaded = reader.read_for_prediction(
                self.question, self.attributes, self.units, as_text=self.out.suffix == ".csv"
            )
        check_river(loaded.record, self.river)
        check_workbook_size(self.out, loaded.record.sizes["catchment"], loaded.record.sizes["time"])
        for line in (*loaded.plan, *processing_notes(loaded.record, self.question)):
            echo(line)
        progress = progress_callback("windows")
        answer = model.predict(loaded.record, self.quantiles, progress=progress, longest_gap=self.longest_gap)
        for line in processing_notes(answer.drop_vars(loaded.record.data_vars, errors="ignore"), self.out):
            echo(line)
        as_table = self.out.suffix in TABLES
        to_output = loaded.layout.to_frame if as_table else loaded.layout.to_dataset
        if self.out.suffix == EXCEL:
            to_output = partial(prediction_table, layout=loaded.layout)
        values = count_origins(answer, value_selector(loaded.layout, as_table))
        provenance_record = provenance(model.identity, loaded.record, values, command_text())
        write_answer(with_provenance(to_output(answer, loaded.record), provenance_record), self.out, loaded.dialect)
        if self.picture is not None:
            draw_river(loaded.layout.to_dataset(answer, loaded.record), self.river, self.picture)
        counts = {name: count for name, count in values.get("riverflow", {}).items() if name != "missing"}
        summary = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        echo(f"{self.out}: daily flows of {answer.sizes['catchment']} catchments: {summary}")
        return {"path": str(self.out), **counts}


@dataclass(frozen=True)
class Forecast:
    """Forecast every river of a record from its last day, or from issue days inside it (hindcast)."""

    record: Annotated[Positional[Path], arg(metavar="RECORD")]
    """A record: .nc, .zarr, .csv or .parquet, or a folder that hydromae prepare reads."""
    model: Path
    """A run, a checkpoint, or a model folder."""
    out: Path
    """The forecasts: .nc or .zarr with riverflow(issue_time, lead, catchment), .csv or .parquet with one row for each of
    these, or .xlsx with a sheet for each river. Flow has the units of the record. An existing file is replaced."""
    days: int = 7
    """Days ahead of an issue day."""
    period: Annotated[tuple[str, str] | None, arg(metavar="FIRST LAST")] = None
    """First and last issue day; default the last day with flow."""
    ensemble: Path | None = None
    """Members of a weather forecast, as .csv or .nc with member, date (or lead and issue_time), catchment, and precipitation,
    temperature and potential_evaporation. Issue days are those of the file; the answer is the mixture of the members."""
    thresholds: tuple[str, ...] = DEFAULT_THRESHOLDS
    """Thresholds of --warnings: N-year (daily flow with this return period), or qN (flow exceeded on N % of days; from q50
    on, the chance is that of less flow). Both are computed from the record up to the issue day."""
    threshold_file: Path | None = None
    """Your own thresholds as .csv: catchment, and a column for each, such as 'flood alert [m3/s]'."""
    warnings: Path | None = None
    """Also write the chance of each threshold, by river and lead, as .csv."""
    warnings_page: Path | None = None
    """The same as a page, .html."""
    keep: Path | None = None
    """Folder of issued forecasts, a file for each issue day. A day that was issued is read from it and never changed, so a
    command that runs every morning computes new days only. hydromae verify scores the folder."""
    issue_interval: int = 1
    """Days between two issue days of the period."""
    future_weather: Literal["observed", "none"] = "observed"
    """observed: use the weather of the record after an issue day; none: hide it. Flow after it is never used."""
    attributes: Path | None = None
    """Table of static attributes under the NRFA names (CSV, parquet), if the record has none."""
    units: str | None = None
    """Units of flow in a wide table (one column per river) without units, such as "m3 s-1"."""
    negative_flow: Literal["refuse", "missing"] = "refuse"
    """missing: treat negative river flow (tide, backwater) as missing instead of refusing the file."""
    daily_sums: Literal["same-day", "day-before"] | None = None
    """Day of the only ERA5-Land sum of a day in a folder with maps, if the file does not state it."""
    boundaries: Path | None = None
    """Catchment boundaries (.gpkg, .geojson, .shp) for the weather of maps in a folder; default discs of the area."""
    picture: Path | None = None
    """Also draw a river as PNG."""
    river: str | None = None
    """River of the picture; default the one with most predicted days."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    precision: Precision = "auto"
    """fp32, bf16 or fp16; auto is the training precision if the device supports it natively, else fp32."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """Return the outputs."""
        outputs = answer_outputs(self.out) | picture_output(self.picture, self.river)
        outputs |= table_and_page_outputs({"warnings": self.warnings}, {"warnings_page": self.warnings_page})
        return outputs | ({} if self.keep is None else {"keep": shared_folder(self.keep)})

    def run(self, echo: Echo) -> Result:
        """Read, forecast, write."""
        from hydromae.datasets import reader
        from hydromae.datasets.ensemble import read_ensembles
        from hydromae.inference.method import DEFAULT_LEVELS
        from hydromae.inference.predictor import load
        from hydromae.inference.scenarios import hindcast_issues
        from hydromae.io.excel import check_workbook_size
        from hydromae.io.options import use_reading_options
        from hydromae.io.provenance import count_origins, provenance, with_provenance
        from hydromae.io.value_ranges import processing_notes
        from hydromae.io.write import forecast_in_units, forecast_table, write_answer

        self._check_options()
        issues = None if self.period is None else hindcast_issues(self.period, self.issue_interval)
        ensembles = None if self.ensemble is None else read_ensembles(self.ensemble)
        model = load(self.model, self.device, self.precision)
        with use_reading_options(self.negative_flow, self.daily_sums, self.boundaries):
            loaded = reader.read_for_prediction(self.record, self.attributes, self.units)
        check_river(loaded.record, self.river)
        for line in (*loaded.plan, *processing_notes(loaded.record, self.record)):
            echo(line)
        record, (column, units) = loaded.record, loaded.layout.flow
        check_workbook_size(self.out, record.sizes["catchment"], self.days * (1 if issues is None else len(issues)))
        answer = self._answer(model, record, issues, ensembles, echo)
        result = self._write_warnings(answer, record, units, echo)
        answer = answer.sel(quantile=list(DEFAULT_LEVELS))
        for line in processing_notes(answer.drop_vars("riverflow"), self.out):
            echo(line)
        answer = forecast_in_units(answer, units, record.get("catchment-area"))
        provenance_record = provenance(model.identity, record, count_origins(answer), command_text())
        to_output = forecast_table(answer, column) if self.out.suffix in TABLES else answer
        write_answer(with_provenance(to_output, provenance_record), self.out, loaded.dialect)
        if self.picture is not None:
            draw_river(answer, self.river, self.picture)
        count = answer.sizes["issue_time"]
        echo(f"{self.out}: {count} issue days, {self.days} days ahead, {answer.sizes['catchment']} catchments")
        return {"path": str(self.out), "issues": count, "days": self.days, **result}

    def _answer(
        self,
        model: Model,
        record: xr.Dataset,
        issues: pd.DatetimeIndex | None,
        ensembles: list[WeatherEnsemble] | None,
        echo: Echo,
    ) -> xr.Dataset:
        """Return the forecast in mm/day; with --keep, issued days are read and new ones are written."""
        import pandas as pd

        from hydromae.inference.issued import IssuedForecasts, issue_new
        from hydromae.inference.scenarios import last_flow_day
        from hydromae.io.provenance import model_line

        if self.keep is None:
            return self._compute(model, record, issues, ensembles)
        wanted = last_flow_day(record) if issues is None else issues
        if ensembles is not None:
            wanted = pd.DatetimeIndex([one.issue for one in ensembles])

        def compute(days: pd.DatetimeIndex) -> xr.Dataset:
            chosen = None if ensembles is None else [one for one in ensembles if one.issue in days]
            return self._compute(model, record, days, chosen).assign_attrs(source=model_line(model.identity))

        names = record["catchment"].values
        answer, new = issue_new(IssuedForecasts(self.keep), wanted, self.days, names, model.sha256, compute)
        old = len(wanted) - len(new)
        echo(
            f"{self.keep}: {len(new)} issue days are new{f', {old} were issued before and are unchanged' if old else ''}"
        )
        return answer

    def _compute(
        self,
        model: Model,
        record: xr.Dataset,
        issues: pd.DatetimeIndex | None,
        ensembles: list[WeatherEnsemble] | None,
    ) -> xr.Dataset:
        """Return the forecast of issue days, or of ensembles, in mm/day."""
        from hydromae.inference.ensembles import FINE_LEVELS, forecast_ensembles
        from hydromae.inference.method import DEFAULT_LEVELS

        if ensembles is not None:
            return forecast_ensembles(model, record, ensembles, self.days, progress=progress_callback("members"))
        levels = FINE_LEVELS if self._has_warnings or self.keep is not None else DEFAULT_LEVELS
        progress = progress_callback("issue days")
        return model.forecast_record(record, self.days, issues, self.future_weather, levels, progress)

    @property
    def _has_warnings(self) -> bool:
        return self.warnings is not None or self.warnings_page is not None

    def _check_options(self) -> None:
        """Refuse options that exclude each other, or have no effect."""
        if self.ensemble is not None and (self.period is not None or self.future_weather == "none"):
            raise InputError("--ensemble: has issue days and weather; omit --period and --future-weather none")
        if not self._has_warnings and (self.threshold_file is not None or self.thresholds != DEFAULT_THRESHOLDS):
            raise InputError("--thresholds, --threshold-file: belong to --warnings or --warnings-page; add one of them")

    def _write_warnings(self, answer: xr.Dataset, record: xr.Dataset, units: str, echo: Echo) -> dict[str, int]:
        """Write the warnings of a forecast in mm/day."""
        if not self._has_warnings:
            return {}
        thresholds = requested_thresholds(
            record, answer["issue_time"].values[0], self.thresholds, self.threshold_file, echo
        )
        source = f"{answer.sizes['catchment']} rivers of {self.record.name}, model {self.model.name}"
        files = (self.warnings, self.warnings_page)
        return {"warnings": write_warnings(answer, thresholds, units, record, *files, source, echo)}
