"""
Rivers that nobody gauged
=========================
All flow of a river is NaN. The answer comes from the flow of its neighbours on the same days, its own weather, and what is
known of its catchment. Here six rivers of sixty are asked three times, and each time less is known of them.
"""

import matplotlib.pyplot as plt
import pandas as pd

import hydromae
from hydromae.inference.scenarios import WEATHER, ungauged
from hydromae.variables import ATTRIBUTES
from hydromae.virtual import virtual_catchments

record = virtual_catchments(days=730, seed=7, start="2009-01-01", catchments=60, missing=False)
model = hydromae.load("gb-rivers")
rivers = record["catchment"].values[3::10]

# %%
# First all is known but flow; then nothing of the catchment but the place and the area; then not its weather either.
asked = ungauged(record, rivers)
gauged = ~asked["catchment"].isin(rivers)
kept = ("latitude", "longitude", "catchment-area")
bare = asked.assign({a.name: asked[a.name].where(gauged) for a in ATTRIBUTES if a.name not in kept})
dark = bare.assign({name: bare[name].where(gauged) for name in WEATHER})

# %%
# The year 2010, medians over the six rivers: the share of the variance that is explained (NSE), of days that lie in the 90 %
# interval, and the width of that interval [mm/day]. The truth is known, because the country is invented.
truth = record["riverflow"].sel(catchment=rivers, time="2010")
answers = {}
rows = {}
for what, question in {"all but flow": asked, "place and area": bare, "and no weather": dark}.items():
    answers[what] = answer = model.predict(question).sel(catchment=rivers, time="2010")
    low, high = (answer["riverflow_quantile"].sel(quantile=level) for level in (0.05, 0.95))
    nse = 1 - ((answer["riverflow"] - truth) ** 2).mean("time") / truth.var("time")
    inside = ((truth >= low) & (truth <= high)).mean("time")
    rows[what] = {"NSE": nse, "inside 90 %": inside, "width": (high - low).mean("time")}
pd.DataFrame(
    {what: {name: float(value.median()) for name, value in row.items()} for what, row in rows.items()}
).T.round(2)

# %%
# The medians hide how much rivers differ. Without a gauge there is nothing of its own to correct an answer by, so expect that
# a few rivers are answered badly: compare neighbours before you trust one.
pd.DataFrame({what: row["NSE"].to_series() for what, row in rows.items()}).round(2)

# %%
# One of them. Its `riverflow_origin` is 3 on every day: ungauged.
best = answers["all but flow"].sel(catchment=rivers[1])
low, high = (best["riverflow_quantile"].sel(quantile=level) for level in (0.05, 0.95))
figure, axis = plt.subplots(figsize=(8, 3), layout="constrained")
axis.fill_between(best["time"], low, high, color="#1f6f9f", alpha=0.25, lw=0)
axis.plot(best["time"], best["riverflow"], "#1f6f9f", label="answer")
axis.plot(truth["time"], truth.sel(catchment=rivers[1]), "k", lw=0.8, label="truth, never shown")
axis.set_ylabel("river flow [mm/day]")
axis.legend(frameon=False)
plt.show()
