"""
Read a drought from the quantiles
=================================
"Was the river low?" is a question of probability where nobody measured. The quantiles of an answer are a distribution for
every day: read between them, and a threshold becomes the chance of being below it.
"""

import matplotlib.pyplot as plt
import numpy as np

import hydromae
from hydromae.inference.scenarios import ungauged
from hydromae.virtual import virtual_catchments

record = virtual_catchments(days=1096, seed=2, start="2008-01-01", catchments=40, missing=False)
model = hydromae.load("gb-rivers")
river = record["catchment"].values[8]
truth = record["riverflow"].sel(catchment=river)

# %%
# Nine levels instead of five: `quantiles=` takes any between 0 and 1.
levels = (0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95)
answer = model.predict(ungauged(record, [river]), quantiles=levels).sel(catchment=river, time="2010")
quantile = answer["riverflow_quantile"].transpose("time", "quantile").values

# %%
# The low flow that is exceeded on 80 % of days, here known from the years before. The chance to be below it is the level at
# which the day's quantiles cross it; outside of the levels one can only say "less than 5 %" or "more than 95 %".
threshold = float(truth.sel(time=slice("2008", "2009")).quantile(0.2))
below = np.array([np.interp(threshold, day, levels, left=0.0, right=1.0) for day in quantile])
happened = (truth.sel(time="2010") < threshold).values
print(f"threshold {threshold:.2f} mm/day; days of 2010 below it: {happened.sum()}, expected {below.sum():.0f}")

# %%
# A probability is scored by the Brier score: 0 is perfect. Beside it, the score of saying on every day how often it happened
# in this year, which nobody could know beforehand.
print(
    f"Brier score {np.mean((below - happened) ** 2):.3f}; of the frequency {happened.mean() * (1 - happened.mean()):.3f}"
)

figure, (above, under) = plt.subplots(2, 1, figsize=(8, 4), sharex=True, layout="constrained")
above.fill_between(answer["time"], quantile[:, 0], quantile[:, -1], color="#1f6f9f", alpha=0.25, lw=0, label="90 %")
above.plot(answer["time"], truth.sel(time="2010"), "k", lw=0.8, label="truth, never shown")
above.axhline(threshold, color="#b5482a", lw=0.8)
above.set_yscale("log")
above.set_ylabel("flow [mm/day]")
above.legend(frameon=False)
under.fill_between(answer["time"], happened, color="#f1ead6", step="mid", lw=0, label="it was")
under.plot(answer["time"], below, "#b5482a", label="chance of drought")
under.set_ylabel("probability")
under.legend(frameon=False)
plt.show()
