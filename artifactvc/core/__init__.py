"""Values and decisions: no input, no output."""
