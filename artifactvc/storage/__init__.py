"""All that touches disk or network."""
