"""What a plan costs at least, and what colocated roles can achieve: what is left to search."""
