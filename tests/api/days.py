"""What happens in a day to places, partners, offerings, needs, roles and people, for
`tests/api/test_audit.py`."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from models import plans
from tests.api.test_partners import LICENCE, a_partner
from tests.api.test_places import a_place
from tests.towns import Town, a_booking, a_need, a_space, an_offering


async def places(diary: Any, town: Town) -> None:
    write = diary.write
    made = await write("found_place", "operator", "POST /v1/places", "place.founded", a_place(town))
    path = f"/v1/places/{made['id']}"
    body = {"population": 1}
    await write("change_place", "operator", f"PATCH {path}", "place.changed", body)
    await write("withdraw_place", "operator", f"DELETE {path}", "place.withdrawn")
    path = f"/v1/places/{town.community}/blocked-partners/{town.partner}"
    await write("block_partner", "secretary", f"PUT {path}", "partner.blocked")
    await write("unblock_partner", "secretary", f"DELETE {path}", "partner.unblocked")


async def partners(diary: Any, town: Town) -> None:
    write = diary.write
    made = await write(
        "apply_as_partner", "resident", "POST /v1/partners", "partner.applied", a_partner(town)
    )
    path = f"/v1/partners/{made['id']}"
    held = f"{path}/credentials/{made['credentials'][0]['id']}/verify"
    for operation, who, request, action, body in (
        ("verify_partner_credential", "secretary", f"POST {held}", "credential.verified", None),
        ("move_partner", "secretary", f"POST {path}/admit", "partner.admitted", None),
        ("change_partner", "resident", f"PATCH {path}", "partner.changed", {"credit_code": None}),
        (
            "reveal_contact",
            "secretary",
            f"POST {path}/contact/reveal",
            "contact.revealed",
            {"reason": "verify"},
        ),
    ):
        await write(operation, who, request, action, body)


async def offerings(diary: Any, town: Town) -> None:
    write, body = diary.write, an_offering(town, credentials=[LICENCE])
    made = await write(
        "register_offering", "partner_staff", "POST /v1/offerings", "offering.registered", body
    )
    bulk = {"items": [an_offering(town)]}
    await write(
        "register_offerings",
        "partner_staff",
        "POST /v1/offerings/bulk",
        "offering.registered",
        bulk,
    )
    path = f"/v1/offerings/{made['id']}"
    held = f"{path}/credentials/{made['credentials'][0]['id']}/verify"
    await write("verify_offering_credential", "secretary", f"POST {held}", "credential.verified")
    await write(
        "change_offering", "partner_staff", f"PATCH {path}", "offering.changed", {"capacity": 1}
    )
    calendar = await town.as_("partner_staff", "GET", f"{path}/availability.ics")
    await write(
        "import_availability",
        "partner_staff",
        f"PUT {path}/availability.ics",
        "offering.changed",
        content=calendar.content,
        headers={"Content-Type": "text/calendar"},
    )
    await write("withdraw_offering", "partner_staff", f"DELETE {path}", "offering.withdrawn")


async def spaces(diary: Any, town: Town) -> None:
    write = diary.write
    space = await town.make("/v1/offerings", a_space(town))
    path = f"/v1/offerings/{space['id']}"
    room = {"level": "room"}
    request, tag = f"PUT {path}/space", {"If-Match": '"1"'}
    await write("place_space", "secretary", request, "space.placed", room, headers=tag)
    idle = {"condition": "idle", "reason": "vacated"}
    request = f"POST {path}/condition"
    await write("convert_space", "partner_staff", request, "space.converted", idle)
    shop = await town.make("/v1/offerings", an_offering(town))
    request = f"POST /v1/offerings/{shop['id']}/capacity"
    more = {"delta": 70, "reason": "rearranged"}
    await write("adjust_capacity", "secretary", request, "pool.adjusted", more)


async def groups(diary: Any, town: Town) -> None:
    write = diary.write
    body = {**a_partner(town, kind="resident_group"), "credentials": []}
    group = (await town.make("/v1/partners", body, "resident"))["id"]
    await town.make(f"/v1/partners/{group}/admit", {}, "operator")
    path = f"POST /v1/groups/{group}"
    await write("join_group", "volunteer", f"{path}/members", "membership.asked")
    step = f"{path}/members/{town.accounts['volunteer']}/admit"
    await write("move_member", "resident", step, "membership.member")
    space = await town.make("/v1/offerings", a_space(town))
    day, window = a_booking()["starts_at"][:10], {"days": [1], "start": "06:30", "end": "09:00"}
    body = {"offering_id": space["id"], "windows": [window], "first": day, "last": day}
    made = await write("book_series", "resident", f"{path}/series", "series.booked", body)
    step = f"{path}/series/{made['id']}/cancel"
    await write("cancel_series", "resident", step, "series.cancelled")


async def bookings(diary: Any, town: Town) -> None:
    shop = await town.make("/v1/offerings", an_offering(town))
    request = f"POST /v1/offerings/{shop['id']}/bookings"
    body = {**a_booking(), "hold_s": 600}
    made = await diary.write("book_offering", "partner_staff", request, "booking.made", body)
    path = f"POST /v1/bookings/{made['id']}"
    await diary.write("confirm_booking", "secretary", f"{path}/confirm", "booking.confirmed")
    await diary.write("cancel_booking", "secretary", f"{path}/cancel", "booking.cancelled")


async def needs(diary: Any, town: Town) -> None:
    write = diary.write
    consent = {
        "given_by": "李奶奶",
        "relation": "self",
        "text": "同意",
        "channel": "phone",
        "given_at": "2026-01-01T08:00:00+08:00",
    }
    body = a_need(town, beneficiary="dependent_elder", consent=consent)
    made = await write("post_need", "secretary", "POST /v1/needs", "need.posted", body)
    path = f"/v1/needs/{made['id']}"
    await write("change_need", "secretary", f"PATCH {path}", "need.changed", {"beneficiaries": 70})
    await write(
        "withdraw_consent", "secretary", f"POST {path}/consent/withdraw", "consent.withdrawn"
    )
    other = await town.make("/v1/needs", a_need(town))
    await write("withdraw_need", "secretary", f"DELETE /v1/needs/{other['id']}", "need.withdrawn")


async def planning(diary: Any, town: Town) -> None:
    write = diary.write
    await town.make("/v1/offerings", an_offering(town), "partner_staff")
    await town.make("/v1/needs", a_need(town))
    body = {"place_id": town.community}
    asked = await write("ask_for_plan", "secretary", "POST /v1/plans", "plan.asked", body)
    path = f"/v1/plans/{asked['id']}"
    async with asyncio.timeout(30):
        while (await town.get(path, "secretary"))["status"] != "done":
            await asyncio.sleep(0.05)
    made = await write("propose_plan", "secretary", f"POST {path}/propose", "plan.proposed", {})
    await write(
        "decline_proposal",
        "partner_staff",
        f"POST /v1/proposals/{made['made'][0]['id']}/decline",
        "proposal.declined",
        {"reason": "time"},
    )
    other = await plans.ask(
        plans.PlanDraft(place_id=uuid.UUID(town.community)), town.accounts["secretary"]
    )
    await write("cancel_plan", "secretary", f"POST /v1/plans/{other.id}/cancel", "plan.cancelled")


async def roles(diary: Any, town: Town) -> None:
    write, place = diary.write, town.community
    volunteer, vanguard = (str(town.accounts[who]) for who in ("volunteer", "vanguard"))
    body = {"account_id": volunteer, "role": "grid_worker", "place_id": place}
    role = await write("give_role", "officer", "POST /v1/roles", "role.granted", body)
    path = f"/v1/roles/{role['id']}"
    lent = {"account_id": vanguard, "valid_to": "2030-01-01T00:00:00Z"}
    await write("delegate_role", "volunteer", f"POST {path}/delegate", "role.lent", lent)
    await write("revoke_role", "officer", f"DELETE {path}", "role.revoked")
    offer = {"role": "volunteer", "place_id": place}
    invited = await write("invite", "secretary", "POST /v1/invitations", "invitation.made", offer)
    other = await town.make("/v1/invitations", offer)
    path = f"/v1/invitations/{other['id']}"
    await write("withdraw_invitation", "officer", f"DELETE {path}", "invitation.withdrawn")
    await write(
        "accept_invitation",
        "vanguard",
        "POST /v1/invitations/accept",
        "role.granted",
        {"token": invited["token"]},
    )


async def keys(diary: Any, town: Town) -> None:
    body = {"name": "门禁系统", "scopes": ["read"], "place_id": town.community}
    made = await diary.write(
        "make_service_key", "secretary", "POST /v1/service-keys", "service_key.made", body
    )
    path = f"/v1/service-keys/{made['record']['id']}"
    await diary.write("revoke_service_key", "secretary", f"DELETE {path}", "service_key.revoked")


async def people(diary: Any, town: Town) -> None:
    write, secret = diary.write, {"login": "newcomer@test", "password": "open, sesame seeds!"}
    made = await write(
        "register_account",
        "anonymous",
        "POST /v1/accounts",
        "account.opened",
        {**secret, "display_name": "新人", "home_place_id": town.community},
    )
    town.accounts["newcomer"] = made["id"]
    session = await write("sign_in", "anonymous", "POST /v1/sessions", "session.opened", secret)
    town.tokens["newcomer"] = session["access_token"]
    for operation, who, request, action, body in (
        (
            "change_account",
            "newcomer",
            "PATCH /v1/accounts/current",
            "account.changed",
            {"display_name": "不新的人"},
        ),
        (
            "change_password",
            "newcomer",
            "POST /v1/accounts/current/password",
            "account.password_changed",
            {"old": secret["password"], "new": "close, sesame seeds!"},
        ),
        (
            "erase_account",
            "newcomer",
            "DELETE /v1/accounts/current",
            "account.erased",
            {"password": "close, sesame seeds!"},
        ),
        (
            "ban_account",
            "officer",
            f"POST /v1/accounts/{town.accounts['resident']}/ban",
            "account.banned",
            None,
        ),
        (
            "unban_account",
            "officer",
            f"POST /v1/accounts/{town.accounts['resident']}/unban",
            "account.unbanned",
            None,
        ),
        ("sign_out", "volunteer", "DELETE /v1/sessions/current", "session.closed", None),
    ):
        await write(operation, who, request, action, body)
