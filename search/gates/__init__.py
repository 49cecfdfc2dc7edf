"""The gates: what must hold, for the exact windows, before an offering may serve a slot.

`facts` are what is compared (and what a snapshot stores), `rules` say yes or no, `reasons` name
each failed gate with the values compared and the smallest change that would open it, `changes`
makes that change, and `sieve` says yes or no of thousands at once. Pure: values in, values out,
integers only.

Visibility is not here: it belongs to the caller's query.
"""

from search.gates.changes import apply_mend
from search.gates.distance import distance_m
from search.gates.facts import Licence, NeedFacts, OfferingFacts
from search.gates.reasons import Failure, Mend, why
from search.gates.rules import (
    GATES,
    Case,
    Spot,
    asked,
    case_of,
    coverage,
    failing,
    holds,
    left,
    passes,
    per_year,
    reaches,
    spoken,
    travel_m,
    weekly_minutes,
)
from search.gates.sieve import BITS, Glance, Sieve

__all__ = [
    "BITS",
    "GATES",
    "Case",
    "Failure",
    "Glance",
    "Licence",
    "Mend",
    "NeedFacts",
    "OfferingFacts",
    "Sieve",
    "Spot",
    "apply_mend",
    "asked",
    "case_of",
    "coverage",
    "distance_m",
    "failing",
    "holds",
    "left",
    "passes",
    "per_year",
    "reaches",
    "spoken",
    "travel_m",
    "weekly_minutes",
    "why",
]
