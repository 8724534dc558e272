from pathlib import Path

from planner.calibration.device_files import staging
from planner.calibration.known import known_device
from planner.domain.fits import FlatFit

PROFILES = Path(__file__).parents[3] / "profiles"
SECTION = ("kernels", "collective")


def test_rows_see_what_was_fitted_before_them_and_nothing_of_it_after():
    shipped = known_device("h100_sxm").kernels.collective
    with staging(PROFILES) as files:
        files.forget(SECTION)
        assert isinstance(known_device("h100_sxm").kernels.collective, FlatFit)
        files.put("devices/h100-sxm-80gb.yaml", SECTION, shipped)
        assert known_device("h100_sxm").kernels.collective == shipped
        assert isinstance(known_device("a100_sxm").kernels.collective, FlatFit)
    assert known_device("a100_sxm").kernels.collective.kind == "protocols"
