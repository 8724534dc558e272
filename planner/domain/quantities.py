"""Field types of files: quantities carry a unit when written, and are plain numbers once read."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from planner.units import parse_bytes, parse_bytes_per_s, parse_flops_per_s, parse_seconds

Bytes = Annotated[int, BeforeValidator(parse_bytes), PlainSerializer(lambda value: f"{value} B"), Field(ge=0)]
BytesPerSecond = Annotated[
    float,
    BeforeValidator(parse_bytes_per_s),
    PlainSerializer(lambda value: f"{value!r} B/s"),
    Field(gt=0),
]
Seconds = Annotated[
    float, BeforeValidator(parse_seconds), PlainSerializer(lambda value: f"{value!r} s"), Field(ge=0)
]
FlopsPerSecond = Annotated[
    float,
    BeforeValidator(parse_flops_per_s),
    PlainSerializer(lambda value: f"{value!r} FLOP/s"),
    Field(gt=0),
]
PositiveInt = Annotated[int, Field(ge=1, le=10**9, strict=True)]


class Value(BaseModel):
    """A frozen value that people or machines write in files; an unknown key is an error, and so is nan."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
