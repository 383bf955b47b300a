"""Tests of artifactvc/core: values and decisions, without files or network."""
