import pytest

from planner.domain.catalog import SHIPPED, read_device
from planner.errors import SpecError


def test_relatives_that_lead_back_to_themselves_are_an_error(tmp_path, monkeypatch):
    folder = tmp_path / "profiles" / "devices"
    folder.mkdir(parents=True)
    text = (SHIPPED / "profiles" / "devices" / "l40s-48gb.yaml").read_text()
    for name, other in (("one", "two"), ("two", "one")):
        named = text.replace("name: l40s-48gb", f"name: {name}").replace(
            "relative: a100-sxm-80gb", f"relative: {other}"
        )
        (folder / f"{name}.yaml").write_text(named)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match="leads back to itself"):
        read_device("one")
