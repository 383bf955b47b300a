"""``python -m artifactvc``."""

import sys

from artifactvc.cli.main import run

sys.exit(run())
