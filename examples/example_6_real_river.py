"""
A real river
============
A flood and a recession are hidden in the record of a Scottish river. The record has one river, one month and no weather but
rain, so the intervals are wide.

Daily mean flow and catchment rain of station 1001, Wick at Tarroul, January 2022, from the UK National River Flow Archive
(`Open Government Licence <https://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/>`_). The training of the
model ends in 2010.
"""

import matplotlib.pyplot as plt
import pandas as pd

import hydromae

# %%
# Flow in m³/s, rain in mm/day, and the static attributes of the catchment.
# fmt: off
flow = [
    1.552, 1.461, 2.035, 7.232, 6.539, 3.901, 2.886, 3.556, 2.618, 2.336, 2.173, 1.919, 1.694, 2.088, 2.138, 2.185,
    1.378, 1.355, 2.313, 1.624, 1.316, 1.177, 1.054, 1.06, 1.159, 1.573, 1.211, 1.642, 1.999, 1.982, 3.905,
]
rain = [
    0.2, 1.7, 4.4, 9.1, 0.2, 1.0, 3.8, 0.3, 0.6, 1.0, 0.1, 0.0, 3.6, 0.8, 0.7, 1.0,
    0.0, 3.8, 1.0, 0.6, 0.0, 0.0, 0.7, 1.1, 0.6, 2.6, 2.1, 1.6, 2.6, 7.7, 6.3,
]
# fmt: on
days = pd.date_range("2022-01-01", periods=31)
record = pd.DataFrame({"time": days, "catchment": 1001, "riverflow [m3/s]": flow, "precipitation [mm/day]": rain})
attributes = pd.DataFrame(
    {
        "latitude": 58.4762,
        "longitude": -3.26706,
        "catchment-area": 161.9,
        "minimum-altitude": 12.9,
        "10-percentile-altitude": 30.6,
        "50-percentile-altitude": 78.8,
        "90-percentile-altitude": 135.2,
        "maximum-altitude": 241.4,
        "propwet": 0.56,
        "bfihost": 0.3,
        "dpsbar": 29.9,
    },
    index=pd.Index([1001], name="catchment"),
)

# %%
# The flood of 4 to 6 January and eight days of recession are hidden, and predicted.
hidden = days.isin([*days[3:6], *days[16:24]])
truth = record.loc[hidden, "riverflow [m3/s]"]
answer = hydromae.load("gb-rivers").predict(
    record.assign(**{"riverflow [m3/s]": record["riverflow [m3/s]"].mask(hidden)}), attributes=attributes
)
predicted = answer[hidden]
inside = truth.between(predicted["riverflow_q05"], predicted["riverflow_q95"])
print(f"{inside.sum()} of {len(inside)} hidden days lie in the 90 % interval")
print(f"peak: {truth.max():.1f} m³/s observed, {predicted['riverflow_q50'].max():.1f} m³/s predicted (median)")

# %%
# `hydromae.plot(answer)` draws the same without the hidden truth.
figure, axis = plt.subplots(figsize=(8, 3.5), layout="constrained")
axis.plot(days, answer["riverflow [m3/s]"].mask(hidden), "k", label="observed")
axis.plot(days[hidden], truth, "k.", label="hidden truth")
for gap in (slice(3, 6), slice(16, 24)):
    part = answer.iloc[gap]
    axis.fill_between(part["time"], part["riverflow_q05"], part["riverflow_q95"], color="#1f6f9f", alpha=0.2, lw=0)
    axis.fill_between(part["time"], part["riverflow_q25"], part["riverflow_q75"], color="#1f6f9f", alpha=0.35, lw=0)
    axis.plot(
        part["time"], part["riverflow_q50"], color="#1f6f9f", label="median and intervals" if gap.start == 3 else None
    )
axis.set_yscale("log")
axis.set_xticks(days[::5], days[::5].strftime("%d %b"))
axis.set_ylabel("Wick at Tarroul [m³/s]")
axis.legend(frameon=False)
plt.show()
