"""A person's own data: all of it to take along, and all of it gone."""

from __future__ import annotations

import datetime as dt
import secrets
import uuid
from collections.abc import Iterable
from typing import Annotated, Any

from msgspec import Meta, Struct, json
from piccolo.columns import Timestamptz
from piccolo.table import Table

from models import (
    accounts,
    agreements,
    attendance,
    audit,
    base,
    bookings,
    calendars,
    disclosure,
    docking,
    engine,
    errors,
    groups,
    hours,
    ledger,
    needs,
    notices,
    offerings,
    outbox,
    partners,
    plans,
    proposals,
    queries,
    reviews,
    saved,
    spreadsheets,
    training,
    values,
)
from models.accounts import limits, operators, passwords, roles, sessions

# What stands where a text has been: records want one, and it says what happened.
GONE_ZH, GONE_EN = "已删除", "Erased"
# The columns that keep JSON.
_JSON = {
    "availability",
    "detail",
    "features",
    "known",
    "languages",
    "options",
    "query",
    "requires_features",
    "scopes",
    "service_types",
    "slots",
    "times",
    "windows",
}


class Export(Struct, kw_only=True):
    """Everything we know of a person: lists of rows by section, secrets left out."""

    made_at: dt.datetime
    data: dict[str, list[dict[str, Any]]]


class Erasure(Struct, forbid_unknown_fields=True, kw_only=True):
    """The password once more: what is erased does not come back."""

    password: Annotated[str, Meta(min_length=1, max_length=1000)]


async def export(caller: accounts.Caller, account: uuid.UUID) -> Export:
    """Everything about an account, and what it may still see of what it has done for others."""
    sees = accounts.visibility(caller)
    acts_for = sorted(caller.partners)
    data = {
        "account": await _rows(accounts.Account, "id", [account]),
        "roles": await _rows(accounts.Role, "account", [account]),
        "sessions": await _rows(accounts.Token, "account", [account]),
        "invitations": await _rows(accounts.Invitation, "invited_by", [account]),
        "service_keys": await _rows(accounts.ServiceKey, "made_by", [account]),
        "memberships": await _rows(groups.Membership, "account", [account]),
        "partners": await _rows(partners.Partner, "id", acts_for),
        "credentials": await _rows(partners.Credential, "partner", acts_for),
        "offerings": await _rows(offerings.Offering, "partner", acts_for),
        **await _intake(account, sees),
        "bookings": await _bookings(account, acts_for, sees),
        "busy_times": await _busy_times(acts_for),
        "calendars": await _rows(calendars.Feed, "account", [account]),
        "dockings": await _rows(docking.Docking, "partner", acts_for),
        "completions": await _rows(training.Completion, "partner", acts_for),
        "proposals": await _rows(proposals.Proposal, "partner", acts_for),
        "parties": await _rows(agreements.Party, "partner", acts_for),
        "commitments": await _rows(agreements.Commitment, "partner", acts_for),
        "agreement_steps": await _rows(agreements.AgreementEvent, "actor", [account]),
        "enrolments": await _rows(agreements.Enrolment, "account", [account]),
        "assessments": await _rows(agreements.Assessment, "account", [account]),
        "service_hours": await _rows(agreements.ServiceHours, "recorded_by", [account]),
        "rents": await _rows(agreements.RentAccount, "partner", acts_for),
        "revenue": await _rows(agreements.Revenue, "partner", acts_for),
        "ledger": await _rows(ledger.Entry, "account", [f"partner:{one}" for one in acts_for]),
        "plans": await _plans(account, sees),
        "saved_searches": await _rows(saved.SavedSearch, "account", [account]),
        "notices": await _rows(notices.Notice, "account", [account]),
        "recent_queries": await _rows(queries.RecentQuery, "account", [account]),
        "attendance": await _rows(attendance.Attendance, "account", [account]),
        "hours": await _rows(hours.Hours, "account", [account]),
        "hour_entries": await _rows(ledger.Entry, "account", hours.accounts_of(account)),
        "reviews": await _rows(reviews.Review, "written_by", [account]),
        "acts": await _rows(audit.Audit, "actor", [account]),
    }
    return Export(made_at=base.now(), data=data)


def as_csv(found: Export) -> bytes:
    """An export as one table of section, row, field and value."""
    return spreadsheets.table(
        ("section", "row", "field", "value"),
        (
            (section, number, name, value)
            for section, rows in found.data.items()
            for number, row in enumerate(rows, 1)
            for name, value in row.items()
        ),
    )


async def erase(account: uuid.UUID, password: str) -> None:
    """Forget a person: account, sign-ins, roles, keys, and what was offered and asked for as a
    resident. What was done for a community stays, done by nobody in particular.

    Refuses a wrong password, which counts as a failed sign-in, and the last operator. The files of
    the index and of SQLite are written anew after this, by the worker (`account.erased`).
    """
    ((login, expected, name, home),) = await engine.rows(
        "SELECT login, password_hash, display_name, home_place FROM account WHERE id = $1", account
    )
    attempt = await limits.count(login, None)
    if not await passwords.verify(expected, password):
        raise errors.refuse_field("password", "wrong_password")
    async with engine.unit_of_work() as work:
        await operators.keep_one(account)
        if not await sessions.hold(account, expected):
            raise errors.Refusal("conflict")
        await limits.forgive(attempt)
        gone = {account, *await _erase_partners(work, account)}
        gone |= await _erase_needs(work, account, name)
        await agreements.forget_account(account)
        await attendance.forget(account)
        await reviews.forget(account, gone)
        await hours.leave_behind(account)
        await _erase_mentions(account, gone)
        await _erase_account(account)
        place = home and base.as_id(home)
        await outbox.append(work, "account.erased", account, place=place)


async def _rows(table: type[Table], column: str, wanted: Iterable[Any]) -> list[dict[str, Any]]:
    where = base.Where()
    asked = list(wanted)
    if not asked:
        return []
    where.add(f"{column} IN ({where.values(asked)})")
    name = table._meta.tablename
    key = table._meta.primary_key._meta.name
    found = await engine.fetch(f"SELECT * FROM {name} WHERE {where} ORDER BY {key}", *where.args)
    return [_readable(table, disclosure.columns(name, row, "staff")) for row in found]


async def _intake(account: uuid.UUID, sees: accounts.Visibility) -> dict[str, list[dict[str, Any]]]:
    """Needs that the account has posted and consents it has recorded: of its own ones and where it
    still works all, of others what is everybody's to know. People move; their files do not."""
    posted = await engine.fetch("SELECT * FROM need WHERE posted_by = $1 ORDER BY id", account)
    near = await accounts.inside(sees, [base.as_id(row["place"]) for row in posted])
    whole = {
        str(row["id"])
        for row in posted
        if sees.everything or base.as_id(row["place"]) in near or row["beneficiary"] == "self"
    }
    consents = await _rows(needs.Consent, "recorded_by", [account])
    return {
        "needs": [
            _readable(
                needs.Need,
                disclosure.columns("need", row, "staff" if str(row["id"]) in whole else "public"),
            )
            for row in posted
        ],
        "consents": [row for row in consents if str(row["need"]) in whole],
    }


async def _bookings(
    account: uuid.UUID, acts_for: list[uuid.UUID], sees: accounts.Visibility
) -> list[dict[str, Any]]:
    """Bookings of what its partners offer, and those it made where it still works."""
    where = base.Where()
    theirs = f"o.partner IN ({where.values(acts_for)}) OR " if acts_for else ""
    where.add(f"({theirs}b.booked_by = {where.value(account)})")
    sees.restrict(where, "1 = 0", "b.place", "o.partner")
    found = await engine.fetch(
        f"SELECT b.* FROM booking b JOIN offering o ON o.id = b.offering WHERE {where}"
        " ORDER BY b.id",
        *where.args,
    )
    return [
        _readable(bookings.Booking, disclosure.columns("booking", row, "staff")) for row in found
    ]


async def _busy_times(acts_for: list[uuid.UUID]) -> list[dict[str, Any]]:
    """When outside calendars keep its partners' offerings from being booked."""
    if not acts_for:
        return []
    rows = await engine.fetch(
        "SELECT b.* FROM busy_time b JOIN offering o ON o.id = b.offering"
        f" WHERE o.partner IN ({base.placeholders(len(acts_for))}) ORDER BY b.offering, b.starts",
        *acts_for,
    )
    return [disclosure.columns("busy_time", row, "staff") for row in rows]


async def _plans(account: uuid.UUID, sees: accounts.Visibility) -> list[dict[str, Any]]:
    """Plans that it asked for where it still works; what came of them is the community's."""
    where = base.Where()
    where.add("asked_by = {}", account)
    sees.restrict(where, "1 = 0", "place", None)
    found = await engine.fetch(
        f"SELECT {plans.COLUMNS} FROM plan WHERE {where} ORDER BY id", *where.args
    )
    return [_readable(plans.Plan, disclosure.columns("plan", row, "staff")) for row in found]


def _readable(table: type[Table], row: dict[str, Any]) -> dict[str, Any]:
    """Times and lists as such, which SQLite keeps as text."""
    times = {c._meta.name for c in table._meta.columns if isinstance(c, Timestamptz)}
    return {
        name: base.moment(value)
        if name in times and value
        else json.decode(value)
        if name in _JSON
        else value
        for name, value in row.items()
    }


async def _erase_partners(work: engine.Work, account: uuid.UUID) -> set[uuid.UUID]:
    """The partners that were this resident and nobody else, and all they offered."""
    rows = await engine.fetch(
        "SELECT p.id, p.place FROM partner p WHERE p.kind = 'resident' AND p.id IN"
        " (SELECT partner FROM role WHERE account = $1 AND name = 'partner_staff')"
        " AND NOT EXISTS (SELECT 1 FROM role r WHERE r.partner = p.id AND r.account <> $1"
        " AND r.name = 'partner_staff' AND (r.valid_to IS NULL OR r.valid_to > $2))",
        account,
        base.now(),
    )
    gone: set[uuid.UUID] = set()
    for row in rows:
        partner = base.as_id(row["id"])
        gone |= {partner, *await _erase_offerings(work, partner)}
        await engine.execute("DELETE FROM completion WHERE partner = $1", partner)
        await engine.execute("DELETE FROM credential WHERE partner = $1", partner)
        await agreements.forget_partner(partner)
        await proposals.forget("partner", partner)
        await docking.forget(partner, values.Bilingual(GONE_ZH, GONE_EN))
        await engine.execute(
            "UPDATE partner SET name_zh = $1, name_en = $2, place = public_place,"
            " credit_code = NULL, contact_name = NULL, contact_phone = NULL, status = 'exited',"
            " version = version + 1, updated_at = $3 WHERE id = $4",
            GONE_ZH,
            GONE_EN,
            base.now(),
            partner,
        )
        await outbox.append(
            work,
            "partner.changed",
            partner,
            place=base.as_id(row["place"]),
            action="partner.erased",
        )
    return gone


async def _erase_offerings(work: engine.Work, partner: uuid.UUID) -> set[uuid.UUID]:
    rows = await engine.fetch(
        "UPDATE offering SET title_zh = $1, title_en = $2, description_zh = '',"
        " description_en = '', place = public_place, lat_e6 = NULL, lon_e6 = NULL,"
        " public_lat_e6 = NULL, public_lon_e6 = NULL, cell = NULL, reach_m = NULL,"
        " service_types = '[]', features = '[]', requires_features = '[]', languages = '[]',"
        " availability = '[]', max_hours_week = NULL, max_contacts_week = NULL,"
        " status = 'withdrawn',"
        " version = version + 1, updated_at = $3 WHERE partner = $4 RETURNING id, place",
        GONE_ZH,
        GONE_EN,
        base.now(),
        partner,
    )
    for row in rows:
        await engine.execute("DELETE FROM offering_service WHERE offering = $1", row["id"])
        await engine.execute("DELETE FROM busy_time WHERE offering = $1", row["id"])
        await bookings.give_back("offering", base.as_id(row["id"]))
        await outbox.append(
            work,
            "offering.changed",
            base.as_id(row["id"]),
            place=base.as_id(row["place"]),
            action="offering.erased",
        )
    return {base.as_id(row["id"]) for row in rows}


async def _erase_needs(work: engine.Work, account: uuid.UUID, name: str) -> set[uuid.UUID]:
    """What the person asked for themselves, and their name where they are who agreed."""
    rows = await engine.fetch(
        "UPDATE need SET title_zh = $1, title_en = $2, description_zh = '', description_en = '',"
        " place = public_place, lat_e6 = NULL, lon_e6 = NULL, public_lat_e6 = NULL,"
        " public_lon_e6 = NULL,"
        " radius_m = NULL, status = 'withdrawn', version = version + 1, updated_at = $3"
        " WHERE posted_by = $4 AND beneficiary = 'self' RETURNING id, place",
        GONE_ZH,
        GONE_EN,
        base.now(),
        account,
    )
    for row in rows:
        await outbox.append(
            work,
            "need.changed",
            base.as_id(row["id"]),
            place=base.as_id(row["place"]),
            action="need.erased",
        )
        await agreements.forget_need(base.as_id(row["id"]), GONE_ZH, GONE_EN)
        await bookings.give_back("need", base.as_id(row["id"]))
        await proposals.forget("need", base.as_id(row["id"]))
    await engine.execute(
        "UPDATE consent SET given_by = $1, text = '' WHERE recorded_by = $2 AND (given_by = $3"
        " OR need IN (SELECT id FROM need WHERE posted_by = $2 AND beneficiary = 'self'))",
        GONE_EN,
        account,
        name,
    )
    return {base.as_id(row["id"]) for row in rows}


async def _erase_mentions(account: uuid.UUID, gone: set[uuid.UUID]) -> None:
    """Comparisons in which the person was compared, and answers kept for repetition that tell of
    them, whoever asked."""
    await engine.execute("DELETE FROM answer WHERE caller = $1", str(account))
    for subject in gone:
        await engine.execute("DELETE FROM answer WHERE body LIKE $1", f"%{subject}%")
        await engine.execute("DELETE FROM snapshot WHERE content LIKE $1", f"%{subject}%")


async def _erase_account(account: uuid.UUID) -> None:
    await roles.end_lent_by(account)
    for table, column in (
        ("token", "account"),
        ("role", "account"),
        ("membership", "account"),
        ("feed", "account"),
        ("service_key", "made_by"),
        ("notice", "account"),
        ("saved_search", "account"),
        ("recent_query", "account"),
    ):
        await engine.execute(f"DELETE FROM {table} WHERE {column} = $1", account)
    await engine.execute(
        "DELETE FROM invitation WHERE invited_by = $1 AND accepted_by IS NULL", account
    )
    await engine.execute(
        "UPDATE account SET login = $1, display_name = $2, password_hash = '', status = 'erased',"
        " home_place = NULL, version = version + 1, updated_at = $3 WHERE id = $4",
        f"erased-{secrets.token_hex(16)}",
        GONE_EN,
        base.now(),
        account,
    )
