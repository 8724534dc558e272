"""What to train on which cluster, and what came of it: the nouns every other room uses."""
