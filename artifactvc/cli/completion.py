"""Scripts that let a shell complete ``avc``: click's, and for bash one that also completes behind ``:``."""

from __future__ import annotations

from typing import Final

from click.shell_completion import get_completion_class

from artifactvc.cli.app import avc

#: Bash breaks words at ":", so what it already shows before the last ":" is cut off the answers.
_BASH_COLON: Final = """
_avc_completion_colon() {
    local whole="${COMP_LINE:0:COMP_POINT}" word
    word="${whole##* }"
    local IFS=$'\\n' response value
    response=$(env COMP_WORDS="${whole}" COMP_CWORD=$(( $(wc -w <<< "${whole}") - ( ${#word} > 0 ? 1 : 0 ) )) \\
        _AVC_COMPLETE=bash_complete avc)
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


def script(shell: str) -> str:
    """The script for *shell*."""
    if shell == "bash":
        return _BASH_COLON.strip()
    kind = get_completion_class(shell)
    assert kind is not None
    return kind(avc, {}, "avc", "_AVC_COMPLETE").source()
