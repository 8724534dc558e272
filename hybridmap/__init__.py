"""The command line: the only package that knows both the planner and the runtime."""
