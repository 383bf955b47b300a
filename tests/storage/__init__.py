"""Tests of artifactvc.storage."""
