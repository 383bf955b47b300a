"""The checks find what goes wrong without any one rule: they can fail, and each rule is needed."""

from __future__ import annotations

from itertools import chain

import pytest

from tests.model.explore import explore
from tests.model.switches import without

#: ``rescue`` is not among them: it shows too seldom, since a push copies from condemned files, too.
#: A schedule in which it shows, and what. When the code's calls of the remote change, others are looked for.
SHOWN: dict[str, tuple[int, frozenset[str]]] = {
    "gc_recheck": (0, frozenset({"loss"})),
    "names_all": (18, frozenset({"loss"})),
    "condemned_is_dead": (1, frozenset({"loss"})),
    "revive_check": (16, frozenset({"loss"})),
    "live_only": (1, frozenset({"loss"})),
    "partial": (1053, frozenset({"loss", "local"})),
    "evict_safe": (29, frozenset({"loss", "local"})),
    "doubt": (0, frozenset({"loss", "error"})),
    "log_alone": (1, frozenset({"loss"})),
    "finish_check": (115, frozenset({"loss"})),
    "open_drafts": (0, frozenset({"loss"})),
    "one_entry": (53, frozenset({"loss"})),
    "renumber": (1, frozenset({"diverge"})),
    "never_reuse": (0, frozenset({"twonames"})),
    "latest_follows": (0, frozenset({"refused"})),
    "by_digest": (0, frozenset({"wrongref"})),
}
#: Schedules that are looked at, at most.
SEARCHED = 200


@pytest.mark.parametrize("rule", SHOWN)
def test_without_a_rule_something_goes_wrong(rule: str, soak: int) -> None:
    """The schedule that is fine with all rules has a bad outcome, of the kind that the rule prevents, without it."""
    shown, kinds = SHOWN[rule]
    for seed in chain([shown], range(SEARCHED * soak)):
        with without(rule):
            bad = explore(seed).bad
        if bad.keys() & kinds:
            assert not explore(seed).bad
            return
    pytest.fail(f"nothing goes wrong without '{rule}': is the rule needed, and does the schedule reach it?")
