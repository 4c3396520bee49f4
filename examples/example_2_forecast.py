"""
Forecast, with and without the weather ahead
============================================
A forecast predicts the days after an issue day. If the record holds a weather forecast for these days, it is used. The
forecast without future weather shows how much of the skill comes from the weather.
"""

import matplotlib.pyplot as plt
import pandas as pd

import hydromae
from hydromae.virtual import virtual_catchments

record = virtual_catchments(days=500, seed=5, start="2009-01-01", catchments=30, missing=False)
model = hydromae.load("gb-rivers")

# %%
# Seven days after the last day with observed flow.
ahead = model.forecast(record, days=7)
ahead["riverflow"].isel(issue_time=0, catchment=0).to_series().round(2)

# %%
# A hindcast starts from an issue day inside the record. Observations after it are not used, except the weather where
# `future_weather="observed"`. The same on the command line is `hydromae forecast` with `--period`.
issue = pd.DatetimeIndex(["2010-03-02"])
answers = {w: model.forecast(record, days=14, issues=issue, future_weather=w) for w in ("observed", "none")}
answers["observed"]

# %%
# Width of the 90 % interval and mean absolute error by lead [mm/day], over the 30 rivers.
truth = record["riverflow"].sel(time=answers["observed"]["valid_time"].values[0]).rename(time="lead")
truth = truth.assign_coords(lead=answers["observed"]["lead"])
rows = {}
for future_weather, answer in answers.items():
    one = answer.isel(issue_time=0)
    wide = one["riverflow_quantile"].sel(quantile=0.95) - one["riverflow_quantile"].sel(quantile=0.05)
    rows[f"width, {future_weather}"] = wide.mean("catchment").to_series()
    rows[f"error, {future_weather}"] = abs(one["riverflow"] - truth).mean("catchment").to_series()
pd.DataFrame(rows).loc[[1, 3, 7, 14]].round(2)

# %%
# One river: the interval opens quickly where nothing is known of the rain.
river = record["catchment"].values[12]
figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True, layout="constrained")
for axis, (future_weather, answer) in zip(axes, answers.items(), strict=True):
    one = answer.isel(issue_time=0).sel(catchment=river)
    low, high = (one["riverflow_quantile"].sel(quantile=level) for level in (0.05, 0.95))
    axis.fill_between(one["valid_time"], low, high, color="#1f6f9f", alpha=0.25, lw=0)
    axis.plot(one["valid_time"], one["riverflow"], "#1f6f9f", label="forecast")
    before = record["riverflow"].sel(catchment=river, time=slice("2010-02-01", "2010-03-16"))
    axis.plot(before["time"], before, "k", lw=0.9, label="truth")
    axis.axvline(issue[0], color="grey", lw=0.6)
    axis.set_title(f"future weather: {future_weather}", loc="left", fontsize=9)
    axis.tick_params(axis="x", rotation=30, labelsize=7)
axes[0].set_ylabel("river flow [mm/day]")
axes[0].legend(frameon=False)
plt.show()
