"""A person's hours, and their signed service record."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter
from msgspec import Struct, structs

from api import answers, auth, paging
from api.requests import StrictRequest
from models import base, errors, hours, service_records, settings

First = Annotated[
    dt.date | None, QueryParameter(name="from", description="First day; a year before the last.")
]
Last = Annotated[dt.date | None, QueryParameter(name="to", description="Last day; today.")]
_LONGEST = dt.timedelta(days=service_records.LONGEST_DAYS - 1)


class BalancePage(Struct, kw_only=True):
    """A balance in minutes, and one page of what has changed it, newest first."""

    spendable: int
    donate_only: int
    owed: int
    cap: int
    entries: paging.Page[hours.BalanceEntry]


class HoursController(Controller):
    """The time bank: at most 1,500 hours may be saved up to be spent; what is earned above can only
    be given away."""

    path = "/v1/accounts/current/hours"
    tags = ("hours",)

    @get(operation_id="get_hours", summary="My hours", signed_in=True)
    async def read(
        self, request: StrictRequest, cursor: paging.Cursor = None, limit: paging.Limit = 20
    ) -> Response[BalancePage]:
        """What you have given and not spent, in minutes, and how it came about."""
        account = auth.account_of(request)
        has = await hours.of(account)
        found = await hours.entries(account, after=paging.after(cursor), limit=limit + 1)
        page = BalancePage(**structs.asdict(has), entries=paging.page(found, limit))
        return answers.shown(request, page)

    @post(
        "/donate",
        operation_id="donate_hours",
        summary="Give hours away",
        status_code=200,
        signed_in=True,
    )
    async def donate(
        self, request: StrictRequest, data: JSONBody[hours.Donation]
    ) -> Response[hours.BalanceRecord]:
        """Give minutes to another person or to the fund of a place; first those that are good for
        nothing else."""
        account = auth.account_of(request)
        return await answers.once(request, lambda: hours.give(account, data), status=200)

    @post(
        "/spend",
        operation_id="spend_hours",
        summary="Spend hours",
        status_code=200,
        signed_in=True,
    )
    async def spend(
        self, request: StrictRequest, data: JSONBody[hours.Spending]
    ) -> Response[hours.BalanceRecord]:
        """Spend minutes on a place in a service that you have enrolled for. What lies above the cap
        cannot be spent."""
        account = auth.account_of(request)
        return await answers.once(request, lambda: hours.pay(account, data), status=200)


class ServiceRecordController(Controller):
    """What somebody has given, signed, so that whoever is shown it can check it by themselves."""

    path = "/v1/accounts/current/service-record"
    tags = ("hours",)

    @get(
        operation_id="get_service_record",
        summary="My service record, signed",
        signed_in=True,
    )
    async def read(
        self,
        request: StrictRequest,
        options: NamedDependency[settings.Settings],
        first: First = None,
        last: Last = None,
    ) -> Response[service_records.SignedRecord]:
        """What you have given, day by day, at most 366 days. `jws` is the same, signed with Ed25519
        (RFC 7515, RFC 8037): anybody can verify it with the key at `/v1/service-record-keys`,
        without asking us again."""
        last = last or base.now().date()
        if not 2000 <= last.year < 2200:
            raise errors.refuse_field("to", "out_of_range", needed="a day between 2000 and 2199")
        first = first or last - _LONGEST
        if not dt.timedelta() <= last - first <= _LONGEST:
            needed = f"not after to, at most {service_records.LONGEST_DAYS} days"
            raise errors.refuse_field("from", "out_of_range", needed=needed)
        found = await service_records.of(auth.account_of(request), first, last)
        return answers.shown(request, service_records.sign(found, settings.signing_key(options)))


class SignatureController(Controller):
    """What signed records are checked with."""

    path = "/v1/service-record-keys"
    tags = ("signatures",)

    @get(
        operation_id="get_service_record_keys",
        summary="The keys of service records",
    )
    async def keys(
        self, request: StrictRequest, options: NamedDependency[settings.Settings]
    ) -> Response[service_records.PublicKeys]:
        """The public key that service records are checked with, as a JWK set (RFC 7517). Keep it:
        what it has signed can be checked for ever."""
        key = service_records.public_key(settings.signing_key(options))
        return answers.shown(request, service_records.PublicKeys((key,)))
