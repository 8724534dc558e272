import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner import units
from planner.errors import SpecError


def test_decimal_and_binary_prefixes_differ() -> None:
    assert units.parse_bytes("80 GB") == 80 * 10**9
    assert units.parse_bytes("80 GiB") == 80 * 2**30


def test_bits_are_eighths_of_bytes() -> None:
    assert units.parse_bytes_per_s("200 Gbit/s") == 25e9


def test_bytes_round_up() -> None:
    assert units.parse_bytes("0.1 B") == 1


@pytest.mark.parametrize(
    "text", ["80", "GiB", "80 GIB", "-3 GiB", "80 GiB GiB", "", 80, None, "nan GiB", "80 GB/s"]
)
def test_what_is_not_a_size_is_an_error(text: object) -> None:
    with pytest.raises(SpecError, match=r"quantity|unit"):
        units.parse_bytes(text)


@given(st.integers(min_value=0, max_value=2**53))
def test_bytes_survive_a_round_trip(count: int) -> None:
    assert units.parse_bytes(f"{count} B") == count


@given(st.floats(min_value=1e-9, max_value=1e6))
def test_formatted_seconds_are_right_to_three_digits(seconds: float) -> None:
    if seconds >= 1e-6:
        assert units.parse_seconds(units.format_seconds(seconds)) == pytest.approx(seconds, rel=6e-3)
