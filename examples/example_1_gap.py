"""
Fill a gap in a table
=====================
A table with a row for each day and river goes in, with NaN where the gauge failed. The same rows come out, every NaN
answered, with quantiles beside. What was observed comes back bit for bit.
"""

import matplotlib.pyplot as plt

import hydromae
from hydromae.virtual import virtual_catchments

# %%
# Two years of 30 invented rivers. Yours would come from `pandas.read_csv`: columns `time`, `catchment`, `riverflow` [mm/day],
# the weather where you have it, and for each catchment at least `latitude` and `longitude`.
record = virtual_catchments(days=730, seed=3, start="2009-01-01", catchments=30, missing=False)
table = record.to_dataframe().reset_index()
river = table["catchment"].iloc[12]
gap = (table["catchment"] == river) & table["time"].between("2010-02-10", "2010-03-01")
truth = table.loc[gap, "riverflow"]
table.loc[gap, "riverflow"] = None
table[["time", "catchment", "riverflow", "precipitation", "latitude", "longitude"]][gap].head(3)

# %%
# The question is the NaN, so there is nothing else to say.
filled = hydromae.load("gb-rivers").predict(table)
answer = filled[gap]
answer[["time", "catchment", "riverflow", "riverflow_q05", "riverflow_q95", "riverflow_origin"]].head()

# %%
# The country is invented, so the truth is known.
inside = truth.between(answer["riverflow_q05"], answer["riverflow_q95"])
print(f"{inside.sum()} of {len(inside)} hidden days lie in the 90 % interval")
print(f"mean error {abs(answer['riverflow'] - truth).mean():.2f} mm/day, where flow has a mean of {truth.mean():.2f}")

around = filled[(filled["catchment"] == river) & filled["time"].between("2010-01-10", "2010-04-01")]
figure, axis = plt.subplots(figsize=(8, 3), layout="constrained")
axis.plot(around["time"], around["riverflow"].where(around["riverflow_origin"] == 0), "k", label="observed")
axis.plot(answer["time"], truth, "k:", label="hidden truth")
axis.plot(answer["time"], answer["riverflow"], "#1f6f9f", label="answer")
axis.fill_between(answer["time"], answer["riverflow_q05"], answer["riverflow_q95"], color="#1f6f9f", alpha=0.25, lw=0)
axis.set_ylabel("river flow [mm/day]")
axis.legend(frameon=False)
plt.show()
