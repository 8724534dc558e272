"""Seconds of collectives on the links that their groups run over."""
