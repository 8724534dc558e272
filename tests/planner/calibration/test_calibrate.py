"""The entry point of calibration: what is fitted lands in its file, whole or not at all."""

from pathlib import Path

import pytest
import yaml

from planner.calibration.__main__ import calibrate, check_folder, main
from planner.calibration.device_files import records_of, staging
from planner.calibration.fittings import FITTINGS, Fitting, fittings_named
from planner.domain.catalog import SHIPPED, read_device
from planner.domain.fits import ElementwiseFit, FitRecord, FlatFit, Residuals
from planner.errors import SpecError

DEVICE = "h100-sxm-80gb"
RECORD = FitRecord(
    source="here",
    date="2026-11-20",
    rows=9,
    held_out=Residuals(rows=3, mape=0.05, p90=0.1, low=-0.1, high=0.1, coverage=0.9),
)


def streams(share: float) -> ElementwiseFit:
    return ElementwiseFit(share=share, launch="3 us", record=RECORD)


def fitting(name: str, fit: object) -> Fitting:
    return Fitting(
        name=name,
        files=(f"{name}.csv",),
        fit=fit,  # type: ignore[arg-type]
        file="devices/{}.yaml",
        keys=("kernels", "elementwise"),
    )


@pytest.fixture
def profiles(tmp_path: Path) -> Path:
    """A copy of one shipped device file."""
    file = tmp_path / "profiles" / "devices" / f"{DEVICE}.yaml"
    file.parent.mkdir(parents=True)
    file.write_text((SHIPPED / "profiles" / "devices" / f"{DEVICE}.yaml").read_text())
    return tmp_path / "profiles"


def test_a_section_is_replaced_and_the_rest_is_kept(
    profiles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = profiles / "devices" / f"{DEVICE}.yaml"
    before = yaml.safe_load(path.read_text())
    calibrate(tmp_path, [fitting("streams", lambda folder: {DEVICE: streams(0.71)})], profiles)
    after = yaml.safe_load(path.read_text())
    assert after["kernels"].pop("elementwise")["share"] == 0.71
    before["kernels"].pop("elementwise", None)
    assert after == before
    out = capsys.readouterr().out
    assert f"{DEVICE}.kernels.elementwise" in out
    assert "5.0 %" in out


def test_a_fit_sees_what_was_fitted_before_it(profiles: Path, tmp_path: Path) -> None:
    seen: list[object] = []

    def second(folder: Path) -> dict[str, ElementwiseFit]:
        seen.append(read_device(DEVICE).kernels.elementwise)
        return {}

    calibrate(
        tmp_path,
        [fitting("streams", lambda folder: {DEVICE: streams(0.61)}), fitting("later", second)],
        profiles,
    )
    assert seen == [streams(0.61)]


def test_nothing_is_written_when_a_fit_fails(profiles: Path, tmp_path: Path) -> None:
    path = profiles / "devices" / f"{DEVICE}.yaml"
    before = path.read_text()

    def broken(folder: Path) -> dict[str, ElementwiseFit]:
        raise SpecError("rows.csv: line 2: broken")

    with pytest.raises(SpecError):
        calibrate(
            tmp_path,
            [fitting("streams", lambda folder: {DEVICE: streams(0.71)}), fitting("broken", broken)],
            profiles,
        )
    assert path.read_text() == before


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SpecError, match=r"streams\.csv: no such file; fitting streams needs it"):
        check_folder(tmp_path, [fitting("streams", dict)])
    assert main([str(tmp_path)]) == 2
    assert "no such file" in capsys.readouterr().err
    assert main([str(tmp_path / "absent")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_the_nearest_name_of_a_fit_is_given() -> None:
    assert fittings_named([]) == FITTINGS
    assert [each.name for each in fittings_named(["attention"])] == ["attention"]
    with pytest.raises(SpecError, match="did you mean 'attention'"):
        fittings_named(["atention"])


def test_records_are_found_wherever_they_lie() -> None:
    assert dict(records_of(streams(0.5))) == {"": RECORD}
    kernels = read_device(DEVICE).kernels.model_copy(update={"elementwise": streams(0.5)})
    assert dict(records_of(kernels))["elementwise"] == RECORD


def test_a_place_for_fitted_files_vanishes_unless_published(profiles: Path) -> None:
    path = profiles / "devices" / f"{DEVICE}.yaml"
    before = path.read_text()
    with staging(profiles) as stage:
        stage.put(f"devices/{DEVICE}.yaml", ("kernels", "elementwise"), streams(0.4))
        folder = stage.folder
    assert not folder.exists()
    assert path.read_text() == before


def test_a_section_of_an_older_form_does_not_hinder_a_new_fit(profiles: Path, tmp_path: Path) -> None:
    path = profiles / "devices" / f"{DEVICE}.yaml"
    content = yaml.safe_load(path.read_text())
    content["kernels"]["elementwise"] = {"kind": "streams", "speed": 1}
    path.write_text(yaml.safe_dump(content))

    def fit(folder: Path) -> dict[str, ElementwiseFit]:
        return {read_device(DEVICE).name: streams(0.5)}

    calibrate(tmp_path, [fitting("streams", fit)], profiles)
    assert yaml.safe_load(path.read_text())["kernels"]["elementwise"]["share"] == 0.5


def test_sections_that_are_not_fitted_anew_come_back_in_their_order(profiles: Path) -> None:
    path = profiles / "devices" / f"{DEVICE}.yaml"
    before = yaml.safe_load(path.read_text())
    with staging(profiles) as stage:
        for part in ("elementwise", "gemm"):
            stage.forget(("kernels", part))
        assert isinstance(read_device(DEVICE).kernels.gemm, FlatFit)
        stage.put(f"devices/{DEVICE}.yaml", ("kernels", "elementwise"), streams(0.4))
        stage.publish()
    after = yaml.safe_load(path.read_text())
    assert list(after["kernels"]) == list(before["kernels"])
    assert after["kernels"]["gemm"] == before["kernels"]["gemm"]
    assert after["kernels"]["elementwise"]["share"] == 0.4
