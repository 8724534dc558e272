"""Show plans, predictions and measurements: tables, figures, traces."""
