"""Making the change that a mend proposes, on the facts: for what-if, and to prove the mends."""

from __future__ import annotations

import datetime as dt

import msgspec
from msgspec import structs

from models.values import Slot, Window
from search import windows
from search.gates.facts import Licence, NeedFacts, OfferingFacts
from search.gates.reasons import Mend


def apply_mend(
    need: NeedFacts, slot: Slot, offering: OfferingFacts, mend: Mend
) -> tuple[NeedFacts, Slot, OfferingFacts]:
    """The facts as they would be after the change. Refuses (ValueError) a field it cannot set."""
    if mend.target == "need":
        return _need(need, mend), slot, offering
    if mend.target == "credential":
        return need, slot, _credential(offering, mend)
    if mend.target == "partner":
        return need, slot, _partner(offering, mend)
    return need, slot, _offering(offering, mend)


def _need(need: NeedFacts, mend: Mend) -> NeedFacts:
    if mend.field in ("radius_m", "min_coverage"):
        return structs.replace(need, **{mend.field: mend.value})
    if mend.field == "budget":
        budget = mend.value
        return structs.replace(
            need,
            budget_amount=budget["amount"],
            currency=budget["currency"],
            per=budget["per"],
        )
    raise ValueError(f"need.{mend.field} is nothing a mend can change")


def _partner(offering: OfferingFacts, mend: Mend) -> OfferingFacts:
    if mend.field == "status":
        return structs.replace(offering, partner_status=mend.value)
    if mend.field == "blocked":
        return structs.replace(offering, blocked=mend.value)
    raise ValueError(f"partner.{mend.field} is nothing a mend can change")


def _offering(offering: OfferingFacts, mend: Mend) -> OfferingFacts:
    value = mend.value
    match mend.field:
        case "status" | "max_contacts_week" | "reach_m" | "capacity":
            return structs.replace(offering, **{mend.field: value})
        case "features" | "languages":
            return structs.replace(offering, **{mend.field: tuple(value)})
        case "service_types":
            return structs.replace(offering, services=tuple(value))
        case "max_hours_week":
            return structs.replace(offering, max_minutes_week=value * 60)
        case "busy":
            return structs.replace(offering, busy=tuple((start, end) for start, end in value))
        case "availability":
            hours = msgspec.convert(value, tuple[Window, ...])
            return structs.replace(offering, availability=hours)
    raise ValueError(f"offering.{mend.field} is nothing a mend can change")


def _credential(offering: OfferingFacts, mend: Mend) -> OfferingFacts:
    licences = list(offering.licences)
    zone = mend.values["timezone"]
    if mend.action == "obtain_licence":
        begins = dt.date.fromisoformat(mend.value["valid_from"])
        licences.append(
            Licence(
                mend.value["kind"],
                valid_from=windows.start_of_day(begins, zone),
                valid_to=_over(mend.value["valid_to"], zone),
                verified=True,
            )
        )
        return structs.replace(offering, licences=tuple(licences))
    at = mend.values["index"]
    if mend.field == "verified":
        licences[at] = structs.replace(licences[at], verified=mend.value)
    else:
        licences[at] = structs.replace(licences[at], valid_to=_over(mend.value, zone))
    return structs.replace(offering, licences=tuple(licences))


def _over(day: str, zone: str) -> int:
    return windows.end_of_day(dt.date.fromisoformat(day), zone)
