"""What W&B has and avc has not on purpose, and what to use instead."""

from __future__ import annotations

from typing import Final

from artifactvc.errors import UnsupportedError

_INSTEAD: Final = {
    **dict.fromkeys(
        ("Image", "Audio", "Video", "Html", "Object3D", "Molecule", "Histogram", "Plotly", "Graph", "Classes",
         "BoundingBoxes2D", "ImageMask", "Bokeh"),
        "add the file itself: artifact.add_file(path)",
    ),
    "log_code": "the run records its Git commit; use run.log_artifact(path, type='code')",
    **dict.fromkeys(("log_model", "use_model", "link_model"), "use run.log_artifact and run.use_artifact"),
    **dict.fromkeys(("sweep", "agent", "controller", "alert", "plot", "save", "restore"),
                    "artifactvc keeps artifacts, runs and lineage; use another tool beside it"),
}  # fmt: skip


def refuse(module: str, name: str) -> UnsupportedError | AttributeError:
    """The error for a name that *module* has not: UnsupportedError where W&B has it."""
    if name in _INSTEAD:
        return UnsupportedError(f"'{name}' is not supported", hint=_INSTEAD[name])
    return AttributeError(f"module '{module}' has no attribute '{name}'")
