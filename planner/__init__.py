"""Plan and simulate reinforcement-learning post-training of LLMs."""
