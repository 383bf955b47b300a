"""One line for each command, so that help need not load them. A test holds them against the commands' own help."""

from __future__ import annotations

from typing import Final

SUMMARIES: Final[dict[str, str]] = {
    "init": "Make a repository.",
    "add": "Stage files and directories.",
    "rm": "Take entries out of a draft.",
    "status": "Show what is staged and what differs.",
    "commit": "Make versions of what is staged.",
    "reset": "Drop an artifact's draft.",
    "checkout": "Write a version's files.",
    "put": "Store a path as a version, in one step.",
    "get": "Download a version, in one step.",
    "log": "List an artifact's versions, newest first.",
    "show": "Show all about one version.",
    "ls": "List artifacts, or what is in a version.",
    "cat": "Print one file of a version.",
    "diff": "Compare versions, or the workspace.",
    "alias": "Point aliases at a version.",
    "tag": "Add tags to a version.",
    "edit": "Change a description or metadata.",
    "rename": "Give an artifact another name.",
    "delete": "Mark a version deleted.",
    "restore": "Take a deletion back.",
    "run": "Run a command and record what it used and made.",
    "runs": "List runs, newest first, or show one whole.",
    "lineage": "Show what a version was made from, and what was made of it.",
    "remote": "Add, list and change remotes.",
    "push": "Send what a remote lacks.",
    "pull": "Read a remote's log, and fetch bytes.",
    "fetch": "Read a remote's log only.",
    "clone": "Make a repository from a remote.",
    "fsck": "Check everything, and mend it.",
    "gc": "Remove what nothing needs.",
    "du": "Show what takes space.",
    "config": "Show and change settings.",
    "completion": "Print a script that completes commands.",
    "cache": "Show what local copies take, and make room.",
    "artifact": "put, get, ls and cache with W&B's options.",
}
