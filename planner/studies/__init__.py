"""Questions that take several rooms to answer."""
