"""artifactvc: versions datasets, models and results the way Git versions code.

The package imports nothing at import time: the command line and the Python API
load what they use when they use it (docs/architecture.md, "Start-up").
"""

from typing import Final

__version__: Final = "0.1.0"
