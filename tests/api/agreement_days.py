"""What parties, staff and residents do with agreements in a day, for `tests/api/test_audit.py`."""

from __future__ import annotations

from typing import Any

from tests.towns import Town, a_need, an_offering


async def agreements(diary: Any, town: Town) -> None:
    """One is proposed and withdrawn."""
    need = await town.make("/v1/needs", a_need(town))
    shop = await town.make("/v1/offerings", an_offering(town), "operator")
    member = {"role": "cook", "offering_id": shop["id"]}
    body = {"need_id": need["id"], "members": [member]}
    made = await diary.write(
        "propose_agreement", "secretary", "POST /v1/agreements", "agreement.propose", body
    )
    path = f"POST /v1/agreements/{made['id']}/withdraw"
    note = {"note": "不再需要"}
    await diary.write("move_agreement", "secretary", path, "agreement.withdraw", note)


async def enrolments(diary: Any, town: Town) -> None:
    """Somebody stands in line and goes away."""
    need = await town.make("/v1/needs", a_need(town))
    path = f"POST /v1/needs/{need['id']}/enrolments"
    made = await diary.write("enrol", "resident", path, "enrolment.waits", {})
    path = f"POST /v1/enrolments/{made['id']}/cancel"
    await diary.write("cancel_enrolment", "resident", path, "enrolment.cancelled")
