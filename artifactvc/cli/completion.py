"""Scripts that let a shell complete ``avc``: click's, and for bash one that also completes behind ``:``."""

from __future__ import annotations

import os
from typing import Final

from click.shell_completion import BashComplete, add_completion_class, get_completion_class, split_arg_string

from artifactvc.cli.app import avc

#: Bash breaks words at ":", so what it already shows before the last ":" is cut off the answers.
_BASH_COLON: Final = """
_avc_completion_colon() {
    local whole="${COMP_LINE:0:COMP_POINT}" word
    word="${whole##* }"
    local IFS=$'\\n' response value
    response=$(env COMP_WORDS="${whole}" _AVC_COMPLETE=avcbash_complete avc)
    COMPREPLY=()
    while IFS=',' read -r kind value; do
        if [[ $kind == dir ]]; then compopt -o dirnames; elif [[ $kind == file ]]; then compopt -o default
        elif [[ $kind == plain ]]; then
            if [[ $word == *:* ]]; then value="${value#"${word%"${word##*:}"}"}"; fi
            COMPREPLY+=("$value")
        fi
    done <<< "$response"
}
complete -o nosort -F _avc_completion_colon avc
"""


@add_completion_class
class _Line(BashComplete):
    """Takes the line as it is up to the cursor: bash's own words are broken at ":" and know no quotes."""

    name = "avcbash"

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one that is being written, and that."""
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)[1:]
        begun = "" if not line or line[-1].isspace() or not words else words.pop()
        return words, begun


def script(shell: str) -> str:
    """The script for *shell*."""
    if shell == "bash":
        return _BASH_COLON.strip()
    kind = get_completion_class(shell)
    assert kind is not None
    return kind(avc, {}, "avc", "_AVC_COMPLETE").source()
