"""Catalog entries that rows name, each looked up once until a fit changes the catalog.

An entry that there is none of is none; an entry whose file is broken is an error.
"""

from functools import lru_cache

from planner.domain.catalog import read_device, read_generation_stack, read_model, read_training_stack
from planner.domain.cluster import DeviceSpec
from planner.domain.model import ModelSpec
from planner.domain.stack import GenerationStack, TrainingStack
from planner.errors import UnknownNameError


@lru_cache(maxsize=1024)
def known_device(name: str) -> DeviceSpec | None:
    """The catalog device of that name or alias, if there is one."""
    try:
        return read_device(name)
    except UnknownNameError:
        return None


@lru_cache(maxsize=1024)
def known_model(name: str) -> ModelSpec | None:
    """The catalog model that a row names, if there is one."""
    try:
        return read_model(name)
    except UnknownNameError:
        return None


@lru_cache(maxsize=64)
def known_serving_stack(name: str) -> GenerationStack | None:
    """The catalog's serving engine of that name, if there is one."""
    try:
        return read_generation_stack(name)
    except UnknownNameError:
        return None


@lru_cache(maxsize=256)
def known_training_stack(name: str) -> TrainingStack | None:
    """The catalog's training engine of that name, if there is one."""
    try:
        return read_training_stack(name)
    except UnknownNameError:
        return None


def forget_known() -> None:
    """Look everything up again: files of the catalog have changed."""
    for lookup in (known_device, known_model, known_serving_stack, known_training_stack):
        lookup.cache_clear()
