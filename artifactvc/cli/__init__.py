"""The command line: parse, one call of ``Repository``, print."""
