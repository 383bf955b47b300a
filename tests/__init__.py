"""Tests, laid out as the package is: tests/<layer>/test_<module>.py."""
