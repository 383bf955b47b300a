"""Tests of artifactvc/sdk: the Python API."""
