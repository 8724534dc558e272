"""HybridFlow's evaluation (EuroSys'25, section 8), and what the planner makes of it."""
