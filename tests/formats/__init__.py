"""Repositories of released formats, kept as they were written, and read by every later version."""
