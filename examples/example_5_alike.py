"""
Which rivers are alike
======================
The encoder makes a vector of every river from its weather, flow and traits. Rivers whose vectors point the same way are of a
kind: a use for it is to sort a country into kinds of rivers, or to look for a donor beyond the next valley.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import hydromae
from hydromae.virtual import virtual_catchments

record = virtual_catchments(days=730, seed=4, start="2009-01-01", catchments=80, missing=False)
model = hydromae.load("gb-rivers")
vectors = model.embed(record)["site_embedding"]
print(vectors.sizes)

# %%
# The likeness of two rivers: the cosine of their vectors, after the mean of all is taken away.
centred = vectors - vectors.mean("catchment")
unit = centred / np.sqrt((centred**2).sum("feature"))
likeness = (unit.values @ unit.values.T) - 2 * np.eye(len(unit))
river = 20
near = np.argsort(-likeness[river])[:5]
traits = ["latitude", "longitude", "catchment-area", "bfihost"]
shown = record[traits].isel(catchment=[river, *near]).reset_coords(drop=True).to_dataframe()
shown.assign(likeness=[1.0, *likeness[river, near]]).round(2)

# %%
# How does that differ from distance on the map? Every river is compared with the one that is most alike, with the nearest
# one and with any one, by how their flow goes together from day to day, and by how far their memories are apart (the
# correlation of flow with itself 10 days later). Medians over all rivers.
daily = pd.DataFrame(record["riverflow"].values)
flow = daily.corr().values
memory = np.array([daily[column].autocorr(10) for column in daily])
memories = abs(memory[:, None] - memory)
apart = np.hypot(*(record[name].values[:, None] - record[name].values for name in ("easting", "northing")))
apart += np.eye(len(apart)) * 1e9
each = np.arange(len(flow))
pairs = {"most alike": (each, likeness.argmax(axis=1)), "nearest": (each, apart.argmin(axis=1))}
pairs["any"] = np.nonzero(~np.eye(len(flow), dtype=bool))
compared = {what: (np.median(flow[pair]), np.median(memories[pair])) for what, pair in pairs.items()}
pd.DataFrame(compared, index=["correlation of flow", "difference of memory"]).T.round(2)

# %%
# The first two principal axes of the vectors, with the base-flow index, which says how slowly a river answers rain.
left, scale, _ = np.linalg.svd(centred.values, full_matrices=False)
figure, axis = plt.subplots(figsize=(5, 4), layout="constrained")
drawn = axis.scatter(*(left[:, :2] * scale[:2]).T, c=record["bfihost"], cmap="viridis", s=25)
axis.set_xlabel("first axis")
axis.set_ylabel("second axis")
figure.colorbar(drawn, label="base-flow index [1]")
plt.show()
