"""Placements: which roles share devices."""

from collections.abc import Iterator, Sequence

Placement = tuple[tuple[str, ...], ...]
"""A set partition of the roles into colocated sets, roles and sets in the order of the roles."""


def placements(roles: Sequence[str]) -> Iterator[Placement]:
    """All set partitions, as many as the Bell number of the roles (HybridFlow, section 6).

    >>> [len(list(placements("abcd"[:n]))) for n in range(1, 5)]
    [1, 2, 5, 15]
    """
    if not roles:
        yield ()
        return
    *earlier, last = roles
    for placement in placements(earlier):
        for index, block in enumerate(placement):
            yield (*placement[:index], (*block, last), *placement[index + 1 :])
        yield (*placement, (last,))


def format_placement(placement: Placement) -> str:
    """Readable text.

    >>> format_placement((("actor", "reference"), ("critic",)))
    '{actor, reference} {critic}'
    """
    return " ".join("{" + ", ".join(block) + "}" for block in placement)
