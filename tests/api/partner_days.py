"""What partners and those who decide about them do in a day, for `tests/api/test_audit.py`."""

from __future__ import annotations

from typing import Any

from models import base
from tests.api.test_partners import a_partner
from tests.towns import Town, a_docking, a_training, an_offering


async def walks(diary: Any, town: Town) -> None:
    """One is turned down, one is suspended and leaves."""
    refused = await town.make("/v1/partners", a_partner(town), "resident")
    path = f"POST /v1/partners/{refused['id']}/reject"
    why = {"reason": "duplicate"}
    await diary.write("reject_partner", "secretary", path, "partner.exited", why)
    body = a_partner(town, kind="social_org")
    path = f"POST /v1/partners/{(await town.make('/v1/partners', body, 'resident'))['id']}"
    await diary.write("move_partner", "secretary", f"{path}/admit", "partner.admitted")
    await diary.write(
        "suspend_partner",
        "secretary",
        f"{path}/suspend",
        "partner.suspended",
        {"reason": "safety"},
    )
    await diary.write(
        "exit_partner", "resident", f"{path}/exit", "partner.exited", {"reason": "closed"}
    )


async def dockings(diary: Any, town: Town) -> None:
    """One project is delivered, one dropped."""
    other = await town.make("/v1/dockings", a_docking(town))
    made = await diary.write(
        "propose_docking", "secretary", "POST /v1/dockings", "docking.proposed", a_docking(town)
    )
    path = f"/v1/dockings/{made['id']}"
    result = {"result": {"zh": "六十份早餐", "en": "Sixty breakfasts"}}
    for operation, request, action, body in (
        ("change_docking", f"PATCH {path}", "changed", {"ends_on": None}),
        ("dock", f"POST {path}/dock", "docked", None),
        ("deliver_docking", f"POST {path}/deliver", "delivered", result),
        (
            "drop_docking",
            f"POST /v1/dockings/{other['id']}/drop",
            "dropped",
            {"reason": "no_funds"},
        ),
    ):
        await diary.write(operation, "secretary", request, f"docking.{action}", body)


async def trainings(diary: Any, town: Town) -> None:
    """A training is held, changed, completed and withdrawn."""
    made = await diary.write(
        "hold_training", "secretary", "POST /v1/trainings", "training.held", a_training(town)
    )
    path = f"/v1/trainings/{made['id']}"
    offering = await town.make("/v1/offerings", an_offering(town, kind="vanguard"), "partner_staff")
    body: dict[str, Any] = {
        "offering_id": offering["id"],
        "completed_on": str(base.now().date()),
    }
    done = await diary.write(
        "complete_training", "secretary", f"POST {path}/complete", "training.completed", body
    )
    text = {"title": {"zh": "急救", "en": "First aid"}}
    back = f"POST /v1/completions/{done['id']}/withdraw"
    await diary.write("withdraw_completion", "secretary", back, "completion.withdrawn")
    await diary.write("change_training", "secretary", f"PATCH {path}", "training.changed", text)
    await diary.write("withdraw_training", "secretary", f"DELETE {path}", "training.withdrawn")
