"""Virtual GB: weather and rivers of full size with a known truth, for tests, demonstrations and experiments.

The outline of the country is real; relief, soils, geology, catchments and weather are synthetic and depend on one seed.
Weather is simulated from a large-scale circulation, moving fronts and showers, and orography; flow from a soil bucket in
each cell and stores in each catchment, so that the recession follows the base-flow index. The water balance of each
catchment closes to rounding.

It resembles the real country within these bounds, which `tests/test_virtual.py` checks (5 years, 604 catchments; real:
CAMELS-GB 1989-2013, HadUK-Grid):

================================================  ======  =========
median over catchments, or over pairs             real    bound
================================================  ======  =========
share of days with at least 1 mm of rain          0.425   ± 0.06
correlation of daily rain at 25 km                0.91    ± 0.04
correlation of daily rain at 100 km               0.68    ± 0.08
correlation of daily rain at 300 km               0.37    ± 0.10
autocorrelation of flow, 1 day                    0.75    ± 0.08
autocorrelation of flow, 10 days                  0.30    ± 0.12
runoff over rain                                  0.55    ± 0.10
annual rain [mm]                                  958     ± 15 %
annual rain, 90th over 10th percentile            2.97    ± 0.6
rank correlation of 10-day memory and bfihost     0.73    ≥ 0.6
================================================  ======  =========

Not simulated: record floods, observed snow melt, abstraction, or values of real places.
"""

from hydromae.virtual.record import virtual_catchments, virtual_record

__all__ = ["virtual_catchments", "virtual_record"]
