"""Bundles: who can fill all the roles of a need together, in one time window.

`problem` puts every offering before the gates of its slot, `levels` says what each is worth at
which space, `choosing` finds the best that go together, `found` scores and explains them, `why`
says what is in the way. Pure: values in, values out, integers only.

The joint rules: everybody serves at the space (what they require of one is there, it is within
their reach, and their distance is measured to it); the sum of the prices is within the budget;
a person or a partner fills one role; all are free at the same time, for the share of each window
that the need asks for. Members of a `rota` share the time, so they count as one.
"""

from search.bundles.choosing import Chosen, Search
from search.bundles.found import Bundle, Member, Shared, again, explained, score, top
from search.bundles.levels import RULES, Rule
from search.bundles.problem import Candidate, Problem, Role, prepare
from search.bundles.why import Cure, Obstacle, obstacles

__all__ = [
    "RULES",
    "Bundle",
    "Candidate",
    "Chosen",
    "Cure",
    "Member",
    "Obstacle",
    "Problem",
    "Role",
    "Rule",
    "Search",
    "Shared",
    "again",
    "explained",
    "obstacles",
    "prepare",
    "score",
    "top",
]
