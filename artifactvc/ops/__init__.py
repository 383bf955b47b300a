"""One deed per function: plan, then act."""
