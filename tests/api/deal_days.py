"""What comes of the terms of agreements, and what goes into and out of calendars and searches in a
day, for `tests/api/test_audit.py`."""

from __future__ import annotations

import uuid
from typing import Any

from models import attendance, tasks, values
from tests import serving
from tests.api.matrix.calendars import CALENDAR
from tests.api.test_contracts import a_contract
from tests.deals import agreed, proposed
from tests.towns import Town, an_offering


async def terms(diary: Any, town: Town) -> None:
    """Other terms are stated; a month's revenue, and taken back."""
    share = {"partner_id": town.partner, "share_bp": 100}
    made = await proposed(town, {"tier": "public"})
    path = f"PUT /v1/agreements/{made['id']}/terms"
    body: dict[str, Any] = {"terms": {"tier": "public", "revenue_share": share}}
    tag = {"If-Match": f'"{made["version"]}"'}
    await diary.write("change_terms", "secretary", path, "agreement.terms", body, headers=tag)
    agreement = await agreed(town, {"tier": "public", "revenue_share": share})
    diary.clock.stand("2027-04-02T12:00+08:00")
    path = f"POST /v1/agreements/{agreement}/revenue"
    stated = await diary.write(
        "state_revenue",
        "partner_staff",
        path,
        "revenue.stated",
        {"month": "2027-03", "amount": 100_000},
    )
    path = f"{path}/{stated['id']}/reverse"
    await diary.write("reverse_revenue", "secretary", path, "revenue.reversed")


async def rent(diary: Any, town: Town) -> None:
    """Hours are recorded, and taken back."""
    diary.clock.stand("2027-02-28T12:00+08:00")
    owed = {"partner_id": town.partner, "hours_per_month": 10}
    agreement = await agreed(town, {"tier": "space_for_service", "rent": owed})
    diary.clock.stand("2027-03-20T12:00+08:00")
    path = f"POST /v1/agreements/{agreement}/service-hours"
    body = {"served_on": "2027-03-12", "minutes": 60, "note": "义诊"}
    hours = await diary.write(
        "record_service_hours", "secretary", path, "rent.hours_recorded", body
    )
    path = f"{path}/{hours['id']}/reverse"
    await diary.write("reverse_service_hours", "secretary", path, "rent.hours_taken_back")


async def contracts(diary: Any, town: Town) -> None:
    """A milestone is inspected, scored and paid."""
    diary.clock.stand("2027-02-28T12:00+08:00")
    body = a_contract(town, assessors=[str(town.accounts["volunteer"])], scores_needed=1)
    path = f"POST /v1/agreements/{await agreed(town, body)}/milestones/first-half"
    for operation, who, action, sent in (
        ("inspect_milestone", "secretary", "milestone.inspected", {"approved_bp": 10_000}),
        ("score_milestone", "volunteer", "milestone.scored", {"score": 5}),
        ("pay_milestone", "secretary", "milestone.paid", {"amount": 100}),
    ):
        step = operation.partition("_")[0]
        await diary.write(operation, who, f"{path}/{step}", action, sent)


async def duties(diary: Any, town: Town) -> None:
    """One task is done, one is dropped."""
    place = uuid.UUID(town.community)
    for operation, step in (("do_task", "done"), ("drop_task", "drop")):
        title = values.Bilingual("巡查", "A round")
        task = await tasks.raise_("round", uuid.uuid4(), place=place, title=title)
        action = "task.dropped" if step == "drop" else "task.done"
        await diary.write(operation, "secretary", f"POST /v1/tasks/{task}/{step}", action)


async def calendars(diary: Any, town: Town) -> None:
    """One is made and revoked; another keeps an offering busy."""
    body = {"kind": "place", "subject_id": town.community}
    made = await diary.write(
        "make_calendar", "secretary", "POST /v1/calendars", "calendar.made", body
    )
    path = f"DELETE /v1/calendars/{made['record']['id']}"
    await diary.write("revoke_calendar", "secretary", path, "calendar.revoked")
    shop = await town.make("/v1/offerings", an_offering(town), "operator")
    path = f"PUT /v1/offerings/{shop['id']}/busy.ics"
    kind = {"Content-Type": "text/calendar"}
    await diary.write(
        "import_busy", "secretary", path, "offering.busy", content=CALENDAR, headers=kind
    )


async def searches(diary: Any, town: Town) -> None:
    """One is saved, and removed."""
    body = {"name": "早餐", "query": {"text": "早餐"}}
    made = await diary.write(
        "save_search", "resident", "POST /v1/saved-searches", "saved_search.made", body
    )
    path = f"DELETE /v1/saved-searches/{made['id']}"
    await diary.write("remove_saved_search", "resident", path, "saved_search.removed")


async def service(diary: Any, town: Town) -> None:
    """A volunteer comes and goes, gives hours away and spends some; a mistake is corrected, and the
    staff says how it was."""
    helper = await serving.a_volunteer(town, await serving.a_resident(town))
    need = await serving.a_morning(town, {"helper": "volunteer"})
    made = await serving.agreed(town, need, {"helper": helper}, places=60)
    first, *_ = await serving.occurrences(town, made)
    body = {"commitment_id": serving.commitment(made, helper)}
    for way, moment, act in (("in", "starts_at", "came"), ("out", "ends_at", "went")):
        serving.until(diary.clock, first[moment])
        path = f"POST /v1/occurrences/{first['id']}/check-{way}"
        await diary.write(f"check_{way}", "volunteer", path, f"attendance.{act}", body)
    place = (await town.make(f"/v1/needs/{need['id']}/enrolments", {}, "volunteer"))["id"]
    for step, action, to in (
        ("donate", "hours_donated", {"place_id": town.community}),
        ("spend", "hours_spent", {"enrolment_id": place}),
    ):
        path = f"POST /v1/accounts/current/hours/{step}"
        sent = {"minutes": 1, **to}
        await diary.write(f"{step}_hours", "volunteer", path, f"ledger.{action}", sent)
    serving.until(diary.clock, first["ends_at"], 1)
    await attendance.tick()
    (row,) = (await town.get(f"/v1/occurrences/{first['id']}", "secretary"))["attendance"]
    path = f"POST /v1/attendance/{row['id']}/correct"
    mistake = {"reason": "did_not_come"}
    await diary.write("correct_attendance", "secretary", path, "attendance.corrected", mistake)
    await town.make(f"/v1/agreements/{made['id']}/end", {"reason": "quality"})
    about = next(party["id"] for party in made["parties"] if party["partner_id"])
    path = f"POST /v1/agreements/{made['id']}/reviews"
    review = {"stars": 4, "about": about}
    await diary.write("write_review", "secretary", path, "review.written", review)
