"""Speed and memory of `avc` and its peers, measured as whole processes.

``python -m benchmarks`` runs every topic; each topic is one module with a ``run``
function. Only the standard library is used here; peers that are not installed
are skipped with a line (docs/benchmarks.md says how to read the tables).
"""
