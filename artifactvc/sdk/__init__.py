"""The Python interface that people import."""
