"""Knows nothing of artifacts."""
