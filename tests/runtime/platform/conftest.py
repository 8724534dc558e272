"""Makes the upstream packages importable before any test module imports them."""

from runtime.platform import enable

enable()
