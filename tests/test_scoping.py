"""No query goes round `accounts.Visibility`, and no handler reads with the program's own eyes.

Every function that reads a scoped table (one that belongs to a place, a partner, a need or an
offering) restricts its query to what somebody sees, or stands here with the reason why not.
"""

from __future__ import annotations

import ast
import functools

import pytest

from tests import scoping

# Reads that ask nobody's visibility: why, and which.
UNRESTRICTED = {
    "finds out who is calling and what their roles allow": """
        accounts.callers.holder accounts.callers.acting accounts.keys.caller_of_key
        accounts.sessions._signed accounts.roles._held accounts.roles.end_lent_by
        accounts.people._standpoints accounts.invitations.newcomer accounts.limits.sweep
        accounts.operators.keep_one feeds.reader feeds._serving""",
    "asks whether something is there, and tells nothing else of it": """
        base.refer accounts.roles.refer_seat offerings._insert blocking._blocked plans._check
        enrolments._there""",
    "belongs to a record that was read before, by whoever may": """
        accounts.roles.read_role needs.consent_of needs.read_many needs.public_places_of
        credentials.credentials_of plans._text proposals.of_plan proposals.standing
        credentials.state_credentials licences._held candidates.by_place imagine.imagined
        recheck._lock reading.times reading.shape steps.hold answering.seat_declined
        answering._hold_partners answering.hold_asking history.of proposals.of_partner
        arrears.held_days arrears._goes_on rent.read revenue.browse revenue._read
        contracts._is_served
        spaces._read spaces._below pools._write groups._of_series busy.of busy._stored
        accounts.roles.people_of marking.hold attendance.reading.expected reviews._show""",
    "is of a space, pool or group whose people the handler asks for": """
        spaces.convert spaces.history pools.adjust pools.ledger groups.membership
        groups.is_member groups.members groups.to_come""",
    "keeps capacities and times from contradicting each other; the refusal says which": """
        spaces._above spaces._refuse_overfull spaces._refuse_clash spaces._refuse_booked
        pools.refuse_unwritten""",
    "tells which spaces are parts of which; who reads of them is asked elsewhere": """
        kin.root_of kin.of sites._stands sites._uses""",
    "takes back what is a partner's that leaves, and answers nothing": """
        bookings.give_back_ahead bookings.hold_still docking.drop_all""",
    "says when something is taken, to everybody alike, and not by whom": """
        bookings.taken_of promises.anything promises.booked_out""",
    "counts places of what is for everybody": """
        filling.of enrolments.places_of enrolments._for_everybody""",
    "acts for the program itself, on whatever is due, waits or is gone": """
        changing.tick closing._due enrolments._take enrolments.move_up reading.open_of arrears.tick
        postings.activated postings.over tasks.settle""",
    "gathers for a plan, which is for the staff of its place": "gather.budgets plans._take",
    "is of the account's own, or asks for the rest itself": """
        people._rows people._intake people._busy_times people._erase_partners
        people._erase_needs contacts.reveal
        forgetting.forget_partner forgetting.forget_need forgetting.forget_account
        hours.pay hours.entries hours._latest_place service_records._entries reviews.forget""",
    "keeps the chain of the audit trail; `browse` is handed its condition": """
        audit.browse audit._chunk audit._hash_of audit._end audit.flaws""",
    "compares and counts what is public": """
        coverage.of coverage._counts candidates.fitting bundling._persons""",
    "counts for the staff of a place, which the handler asks for first": """
        fairness._priorities fairness._places fairness._loads""",
    "counts, for the program itself": """
        candidates._within_reading sync._count bookings.expire""",
    "looks closer at what the index has found for the caller": "hours._open licensed._held",
    "makes documents, which say who may find them": """
        search.needs.operations search.offerings.operations search.offerings._stated
        sync.everything comparing._look sync._operations""",
    "is addressed by what it contains; the handler asks for its need": "snapshots.read",
}
# Calls of those from handlers: what makes each of them right.
HANDED_ON = {
    ("audit.list_acts", "audit.browse"): "with the condition of the caller's visibility",
    ("auth._caller", "accounts.caller_of_key"): "who is calling",
    ("keys.make", "accounts.holder"): "the caller's own roles",
    ("roles._require_grant", "accounts.holder"): "the caller's own roles",
    ("roles.accept", "accounts.newcomer"): "whoever holds the invitation",
    ("matches._snapshot", "snapshots.read"): "whoever may read its need, asked next",
    ("matches._snapshot", "offerings.read_many"): "only to see whether all may be known",
    ("matches.needs_for", "needs.read_many"): "those that open_for has shown",
    ("needs.consent", "needs.consent_of"): "of a need of the caller's own place",
    ("partners.walk", "history.of"): "of a partner that was read, for its people and the staff",
    ("docking.walk", "history.of"): "of a line that was read, for its people and the staff",
    ("partners.reveal", "partners.reveal"): "of a partner that was read, and audited",
    ("reports.covered", "coverage.of"): "public numbers",
    ("plans._propose", "proposals.of_plan"): "of a plan that was read",
    ("spaces.convert", "spaces.convert"): "of an own offering",
    ("spaces.history", "spaces.history"): "of an own offering",
    ("pools.adjust", "pools.adjust"): "of an own offering",
    ("pools.ledger", "pools.ledger"): "of an own offering",
    ("groups._inside", "groups.is_member"): "whether the caller is one",
    ("groups.members", "groups.members"): "of a group that the caller is of",
    ("groups.sessions", "groups.to_come"): "of a group that the caller is of",
    ("calendars.busy", "busy.of"): "of an offering that is the caller's own",
    ("plans._ask", "offerings.read_many"): "what the plan proposes, for the staff of its place",
    ("plans._ask", "needs.read_many"): "what the plan proposes for, read with its proposals",
    ("proposing._left", "filling.of"): "public numbers",
    ("terms.read", "rent.read"): "of an agreement that was read",
    ("terms.list_revenue", "revenue.browse"): "of an agreement that was read",
    ("terms.score", "deals.read"): "who is served need not see the agreement, and is asked next",
    ("hours.read", "hours.entries"): "the caller's own",
    ("hours.spend", "hours.pay"): "the caller's own",
    ("imagining.what_if", "base.refer"): "places are public",
    ("imagining._changes", "imagine.imagined"): "of partners that the caller sees",
}


@functools.cache
def program() -> list[scoping.Module]:
    """Every source file but the demo town's."""
    found = scoping.modules("models", "search", "api")
    return [module for module in found if not module.name.startswith("models.demo")]


@functools.cache
def every() -> list[scoping.Function]:
    """Every function of the program."""
    return [function for module in program() for function in module.functions]


def unrestricted(functions: list[scoping.Function]) -> list[scoping.Function]:
    """Those that read scoped rows without asking what anybody sees."""
    return [function for function in functions if function.reads and not function.restricts]


@functools.cache
def seeing_all() -> list[scoping.Function]:
    """Those of the whole program; many tests ask."""
    return unrestricted(every())


@functools.cache
def eyes() -> dict[str, int]:
    """Which parameter of a function says what is seen, by its short name."""
    return {_short(f): f.parameters.index("sees") for f in every() if "sees" in f.parameters}


def _allowed(function: scoping.Function) -> bool:
    return any(
        f".{function.name}".endswith(f".{name}")
        for names in UNRESTRICTED.values()
        for name in names.split()
    )


def blind_calls(functions: list[scoping.Function]) -> list[tuple[str, str]]:
    """Calls that read scoped rows with other eyes than the caller's: (from, to), short names."""
    without = {_short(f) for f in seeing_all() if "sees" not in f.parameters}
    found = []
    for function in functions:
        for call in function.own_calls:
            to = scoping.callee(call, function.module)
            if to in without or (to in eyes() and not _with_eyes(function, call, eyes()[to])):
                found.append((_short(function), to))
    return found


def _with_eyes(function: scoping.Function, call: ast.Call, position: int) -> bool:
    """Whether a call hands on what a caller sees: worked out there, or a `sees` of its own."""
    given = [keyword.value for keyword in call.keywords if keyword.arg == "sees"]
    given += call.args[position : position + 1]
    return any(
        ast.unparse(value).startswith("accounts.visibility(request.user")
        or (ast.unparse(value) == "sees" and function.knows_sees)
        for value in given
    )


def _short(function: scoping.Function) -> str:
    """As others call it: `needs.read`, `accounts.browse_roles`."""
    _, *packages, name = function.name.split(".")
    whole = packages[0] in ("accounts", "partners") and len(packages) > 1
    package = packages[0] if whole else packages[-1]
    return f"{package}.{name}"


def test_every_read_of_scoped_rows_asks_what_the_caller_sees() -> None:
    """X8."""
    round_it = [
        (function.name, function.reads) for function in seeing_all() if not _allowed(function)
    ]
    assert round_it == [], "restrict the query with the caller's Visibility"


def test_every_exception_is_still_needed() -> None:
    used = {f".{function.name}" for function in seeing_all()}
    for names in UNRESTRICTED.values():
        for name in names.split():
            assert any(one.endswith(f".{name}") for one in used), name
    assert set(HANDED_ON) <= set(blind_calls(every()))


def test_every_handler_reads_with_the_eyes_of_its_caller() -> None:
    """X8."""
    handlers = [function for function in every() if function.module.name.startswith("api.")]
    assert set(blind_calls(handlers)) - set(HANDED_ON) == set(), "pass visibility(request.user)"


def test_nobody_but_the_models_has_the_eyes_of_the_program() -> None:
    for module in program():
        if not module.name.startswith("models."):
            names = {n.attr for n in ast.walk(module.tree) if isinstance(n, ast.Attribute)}
            assert "EVERYTHING" not in names, module.name


@pytest.mark.parametrize(
    "body",
    [
        'await engine.fetch("SELECT * FROM need WHERE id = $1", one)',
        'await engine.fetch(f"SELECT * FROM need WHERE {where}", *where.args)',
        'await engine.fetch(f"{_SELECT} WHERE o.id = $1", one)',
        'await engine.fetch(f"SELECT 1 FROM {table}")',
        "await engine.fetch(_QUERIES[one])",
        'await engine.fetch("SELECT 1 FROM place l" " JOIN partner p ON p.place = l.id")',
        "await needs.Need.select().where(needs.Need.id == one)",
        "await Need.objects()",
    ],
)
def test_a_query_that_goes_round_is_seen(body: str) -> None:
    source = f"""
_SELECT = "SELECT o.* FROM offering o"
_QUERIES = {{"all": ("SELECT * FROM need", None)}}
async def found(one):
    return {body}
"""
    module = scoping.module("models.needs", source)
    assert unrestricted(module.functions) == module.functions
    restricted = source.replace("    return", '    sees.restrict(where, "1 = 0")\n    return')
    assert unrestricted(scoping.module("models.needs", restricted).functions) == []


@pytest.mark.parametrize(
    ("call", "is_blind"),
    [
        ("needs.read(one)", True),
        ("needs.read(one, accounts.EVERYTHING)", True),
        ("needs.read(one, sees)", True),
        ("needs.browse(sees=accounts.Visibility(), limit=1)", True),
        ("needs.consent_of(one)", True),
        ("needs.read(one, accounts.visibility(request.user))", False),
        ("needs.browse(sees=accounts.visibility(request.user), limit=1)", False),
    ],
)
def test_a_handler_that_reads_with_other_eyes_is_seen(call: str, is_blind: bool) -> None:
    source = f"async def read(self, request, one):\n    return await {call}\n"
    handler = scoping.module("api.needs", source).functions
    assert bool(blind_calls(handler)) == is_blind
