import pytest

from planner.calibration.known import (
    forget_known,
    known_device,
    known_model,
    known_serving_stack,
    known_training_stack,
)
from planner.errors import SpecError

LOOKUPS = {
    known_device: "devices/mine.yaml",
    known_model: "models/mine.json",
    known_serving_stack: "stacks/generation/mine.yaml",
    known_training_stack: "stacks/training/mine.yaml",
}


@pytest.fixture(autouse=True)
def _afresh():
    forget_known()
    yield
    forget_known()


@pytest.mark.parametrize("lookup", LOOKUPS)
def test_what_the_catalog_lacks_is_none(lookup):
    assert lookup("mine") is None


@pytest.mark.parametrize(("lookup", "file"), LOOKUPS.items())
def test_a_broken_file_is_an_error_and_not_an_unknown_name(lookup, file, tmp_path, monkeypatch):
    path = tmp_path / "profiles" / file
    path.parent.mkdir(parents=True)
    path.write_text("[]")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match="mine"):
        lookup("mine")
