"""Tests of artifactvc/util."""
