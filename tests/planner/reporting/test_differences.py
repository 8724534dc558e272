from rich.console import Console

from planner.reporting.explanations import difference_report


def test_quantities_of_plans_are_shown_in_units_that_read_well():
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    link = ("50000000000.0 B/s", "5e+11 B/s")
    sections = {"scenario": {"network.bandwidth": link, "name": ("a", "b")}, "memory": {"actor": (2**30, 0)}}
    console.print(difference_report(sections))
    text = console.export_text()
    assert all(words in text for words in ("50.0 GB/s", "500 GB/s", "1.00 GiB", "0 B", "a", "b"))
