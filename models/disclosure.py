"""Who may know what: one table of classes for the API, the index, exports, logs and webhooks.

public      everybody
community   whoever has a role in the same community
matched     the parties to an agreement
staff       the staff of its place and of everything above, and the partner's own people
secret      nobody: it never leaves the database

Each class includes those before it. A test fails when a column of a table, or a field of a record,
has no class here. Where a home is, everybody may know only roughly: its `public_point`, and not
in which building (`places.public_places`).
"""

from __future__ import annotations

import functools
import re
import uuid
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeVar, get_args

from msgspec import UNSET, UnsetType, structs

from models import accounts, places, values

Level = Literal["public", "community", "matched", "staff", "secret"]
LEVELS: tuple[Level, ...] = get_args(Level)

_CLASSES: dict[str, dict[Level, str]] = {
    "place": {
        "public": "id slug kind parent name_zh name_en population households area_m2 boundary"
        " lat_e6 lon_e6 timezone status version created_at updated_at"
    },
    "place_closure": {"public": "id ancestor descendant depth"},
    "account": {
        # Whoever verified a licence is named by id.
        "public": "id",
        "staff": "login display_name status home_place version created_at updated_at",
        "secret": "password_hash",
    },
    "role": {
        "staff": "id account name place partner valid_from valid_to granted_by delegated_from"
    },
    "token": {"staff": "id account family kind expires_at used_at", "secret": "token_hash"},
    "invitation": {
        "staff": "id role place partner role_valid_to invited_by expires_at accepted_by"
        " accepted_at",
        "secret": "token_hash",
    },
    "service_key": {
        "staff": "id prefix name scopes place partner made_by created_at expires_at revoked_at"
        " last_used_at",
        "secret": "key_hash",
    },
    "sign_in_failure": {"staff": "id window_start failures", "secret": "subject"},
    "audit": {"staff": "seq at actor action subject place detail previous hash"},
    "audit_head": {"staff": "id seq hash signed_at signature"},
    "partner": {
        "public": "id kind public_place owner_place name_zh name_en credit_code status version"
        " created_at updated_at",
        "matched": "place contact_name contact_phone",
    },
    "credential": {
        "public": "id partner offering kind issuer valid_from valid_to verified_by verified_at"
        " training",
        # A doctor's licence number is a number of a person.
        "matched": "number",
    },
    "blocked_partner": {"staff": "id place partner"},
    "service_type": {
        "public": "slug category name_zh name_en age_groups synonyms weights weights_version"
    },
    "offering": {
        "public": "id kind partner public_place title_zh title_en description_zh description_en"
        " public_lat_e6 public_lon_e6 cell reach_m capacity price_amount price_currency price_per"
        " price_tier service_types features requires_features languages availability"
        " max_hours_week max_contacts_week ratings rating_sum jobs_agreed jobs_kept status version"
        " created_at updated_at",
        "matched": "place lat_e6 lon_e6",
    },
    "offering_service": {"public": "id offering service_type kind cell"},
    "service_record": {"public": "id offering place times"},
    "need": {
        "public": "id public_place service_type title_zh title_en description_zh description_en"
        " public_lat_e6 public_lon_e6 radius_m beneficiaries priority windows slots"
        " min_coverage_bp budget_amount budget_currency budget_per status version created_at"
        " updated_at",
        "matched": "place lat_e6 lon_e6",
        # That somebody is alone at home, or may not decide alone, is nobody else's business.
        "staff": "posted_by beneficiary",
    },
    "consent": {
        "staff": "id need given_by relation text channel given_at recorded_by withdrawn_at"
    },
    "bookable": {"staff": "number offering"},
    "booking": {
        "staff": "id offering place need commitment booked_by booked_for series unit starts ends"
        " quantity status held_until version created_at updated_at"
    },
    "space": {"public": "id offering level parent area_m2"},
    "space_kin": {"public": "id offering relative"},
    "condition_change": {"staff": "id offering before condition reason at by"},
    "pool_entry": {"staff": "id offering number delta capacity_before capacity_after reason at by"},
    # For the leaders and members of the group, and the staff of its place.
    "membership": {"staff": "id partner account status asked_at updated_at"},
    "busy_time": {"staff": "id offering starts ends"},
    "feed": {
        "staff": "id account kind subject created_at last_used_at",
        "secret": "token_hash",
    },
    # The content may hold exact homes: see matching.homes.
    "snapshot": {"public": "digest need made_at", "matched": "content"},
    "plan": {
        "staff": "id place objective options status phase share_bp needs candidates asked_by"
        " time_limit_s attempts worker lease_until version input_digest input result failure"
        " created_at started_at finished_at updated_at"
    },
    # For the staff of the need's place and the partner's own people.
    "proposal": {
        "staff": "id plan need place role seat offering partner score snapshot status"
        " decline_reason decline_note made_at version updated_at"
    },
    # For the staff of the place it is about, and the partner's own people.
    "transfer": {"staff": "id kind place partner subject reverses at"},
    "entry": {"staff": "id transfer account unit amount"},
    # For the staff of the need's place and the people of its parties; where exactly somebody needs
    # help is for the parties once all have accepted.
    "agreement": {
        "matched": "place",
        "staff": "id need public_place plan title_zh title_en service_type state state_since"
        " starts_on ends_on last_ends respond_by due due_at places cost_amount cost_currency terms"
        " proposed_by version created_at updated_at",
    },
    "party": {
        "staff": "id agreement partner answer answered_by answered_at decline_reason decline_note"
    },
    "commitment": {
        "staff": "id agreement party partner offering role seat kind quantity value_amount"
        " value_currency description_zh description_en times score snapshot proposal replaces"
        " status live_from left_at"
    },
    "occurrence": {"staff": "id agreement starts ends status version updated_at"},
    "agreement_event": {
        "staff": "id agreement at transition was state actor party commitment reason note"
    },
    # For the staff of the agreement's place and the people of its parties.
    "rent_account": {
        "staff": "id agreement partner place minutes_month occurrences_count month due_at"
        " outstanding"
    },
    "rent_month": {"staff": "id agreement month owed served carried closed_at"},
    "service_hours": {
        "staff": "id agreement month occurrence reverses served_on minutes note recorded_by at"
    },
    "revenue": {
        "staff": "id agreement partner place fund_place month amount currency share_bp fund_amount"
        " transfer reversal stated_by stated_at reversed_at"
    },
    "milestone": {"staff": "id agreement name amount approved paid version updated_at"},
    # Who gave which score is told to nobody but them; together they are for the parties.
    "assessment": {"staff": "id milestone account kind approved_bp score note at"},
    "task": {
        "staff": "id place kind subject title_zh title_en due_at status closed_by closed_at"
        " version created_at updated_at"
    },
    "need_fill": {"public": "id need role wanted taken"},
    "intake": {"public": "id agreement places taken"},
    # Whoever has enrolled, the staff of the place and who serves them.
    "enrolment": {
        "staff": "id need place agreement account label status version created_at updated_at"
    },
    # For everybody once it is docked; before, for the place's staff and the partner's own people.
    "docking": {
        "public": "id partner place service_type need title_zh title_en brings_zh brings_en"
        " starts_on ends_on result_zh result_en status docked_at version created_at updated_at"
    },
    "training": {
        "public": "id kind place title_zh title_en provider_zh provider_en skill valid_for"
        " valid_until status version created_at updated_at"
    },
    "completion": {
        "staff": "id training place partner offering credential completed_on valid_to recorded_by"
        " recorded_at withdrawn_at"
    },
    # The account's own, and nobody else's.
    "saved_search": {
        "staff": "id account name query known settled_at version created_at updated_at"
    },
    "notice": {"staff": "id account topic subject_kind subject saved_search made_at read_at"},
    "recent_query": {"staff": "id account words asked_at"},
    "alert_due": {"staff": "seq kind subject"},
    # Until the day is over; then only what many have asked is left.
    "asked_query": {"staff": "id day community words", "secret": "caller"},
    "popular_query": {"public": "id day community words callers"},
    "query_salt": {"staff": "day", "secret": "salt"},
    "hours": {"staff": "id account spendable gift owed updated_at"},
    "attendance": {
        "staff": "id occurrence commitment account outcome came went minutes transfer recorded_by"
        " reverses reason at"
    },
    "review": {
        "staff": "id agreement author about stars text written_by written_at due_at shown_at"
    },
    "answer": {
        "staff": "id caller route status created_at",
        "secret": "key request_digest headers body",
    },
    "outbox": {"staff": "seq topic subject happened_at"},
    "dead_letter": {"staff": "subject topic detail failed_at"},
}
_LEVEL_OF: dict[tuple[str, str], Level] = {
    (table, column): level
    for table, classes in _CLASSES.items()
    for level, columns in classes.items()
    for column in columns.split()
}

# What records call their columns, where the names differ. A field has the strictest class of its
# columns; one that holds records of its own has none, for they are disclosed one by one.
_RECORDS: dict[str, tuple[str, dict[str, str]]] = {
    "PlaceRecord": (
        "place",
        {"parent_id": "parent", "name": "name_zh name_en", "location": "lat_e6 lon_e6"},
    ),
    "PartnerRecord": (
        "partner",
        {
            "place_id": "place",
            "owner_place_id": "owner_place",
            "name": "name_zh name_en",
            "credentials": "",
        },
    ),
    "CredentialRecord": ("credential", {"training_id": "training"}),
    "OfferingRecord": (
        "offering",
        {
            "partner_id": "partner",
            "place_id": "place",
            "title": "title_zh title_en",
            "description": "description_zh description_en",
            "location": "lat_e6 lon_e6",
            "location_exact": "public_lat_e6 public_lon_e6",
            "price": "price_amount price_currency price_per",
            "record": "ratings rating_sum jobs_agreed jobs_kept",
            "credentials": "",
        },
    ),
    "NeedRecord": (
        "need",
        {
            "place_id": "place",
            "title": "title_zh title_en",
            "description": "description_zh description_en",
            "location": "lat_e6 lon_e6",
            "location_exact": "public_lat_e6 public_lon_e6",
            "min_coverage": "min_coverage_bp",
            "budget": "budget_amount budget_currency budget_per",
        },
    ),
    "ConsentRecord": ("consent", {"need_id": "need"}),
    "BookingRecord": (
        "booking",
        {
            "offering_id": "offering",
            "place_id": "place",
            "partner_id": "",
            "need_id": "need",
            "commitment_id": "commitment",
            "group_id": "booked_for",
            "series_id": "series",
            "starts_at": "starts",
            "ends_at": "ends",
        },
    ),
}
# Shown in full to their own people alone; the staff ask for the rest and say why.
_MASKED = {("PartnerRecord", "contact_phone")}

# A home is shown as the middle of a cell of 250 m from south to north and 435 m from west to east
# (in Chongqing). These cells divide the candidate table's evenly, so that one candidate cell holds
# the home and its public point alike, and tells no more than that point.
SNAP_LAT_E6, SNAP_LON_E6 = 2_250, 4_500


class Record(Protocol):
    """What belongs to a place, and perhaps to a partner."""

    @property
    def place_id(self) -> uuid.UUID: ...

    @property
    def owner(self) -> uuid.UUID | None:
        """The partner whose people see all of it."""

    @property
    def is_home(self) -> bool:
        """Whether somebody lives where it is."""


R = TypeVar("R", bound=Record)
S = TypeVar("S")


def level_of(table: str, column: str) -> Level:
    """The class of a column. Refuses (KeyError) one that has none."""
    return _LEVEL_OF[table, column]


def field_level(kind: type, field: str) -> Level:
    """The class of a field of a record. Refuses (KeyError) one that has none."""
    table, named = _RECORDS[kind.__name__]
    classes = [level_of(table, column) for column in named.get(field, field).split()]
    return max(classes, key=LEVELS.index, default="public")


def columns(table: str, row: Mapping[str, Any], level: Level) -> dict[str, Any]:
    """What of a row a reader of that level may know."""
    return {name: row[name] for name in _allowed(table, tuple(row), level)}


@functools.lru_cache(maxsize=256)
def _allowed(table: str, names: tuple[str, ...], level: Level) -> tuple[str, ...]:
    most = LEVELS.index(level)
    return tuple(name for name in names if LEVELS.index(level_of(table, name)) <= most)


def disclose(
    record: S,
    level: Level,
    *,
    own: bool = False,
    at: Mapping[uuid.UUID, uuid.UUID] = MappingProxyType({}),
) -> S:
    """A record as a reader of that level sees it: what is withheld is UNSET, a home is shown as
    its public point and at its public place (`at` has them by place), and a phone is masked unless
    it is the reader's `own`."""
    kind: Any = type(record)
    hidden, exact = _withheld(kind, level)
    changes: dict[str, Any] = dict(hidden)
    for name in _inside(kind):
        changes[name] = tuple(disclose(part, level, own=own) for part in getattr(record, name))
    if exact and record.is_home:  # type: ignore[attr-defined]
        changes |= _roughly(record, exact, at)
    for name in () if own else _masked(kind):
        phone = changes.get(name, getattr(record, name, UNSET))
        if isinstance(phone, str):
            changes[name] = mask(phone)
    return structs.replace(record, **changes) if changes else record  # type: ignore[type-var]


async def shown(sees: accounts.Visibility, record: R) -> R:
    """One record as these eyes may read it."""
    return (await all_shown(sees, [record]))[0]


async def all_shown(sees: accounts.Visibility, records: Sequence[R]) -> list[R]:
    """Records as these eyes may read them, each by where it is and whose it is."""
    staffed = await accounts.inside(sees, [record.place_id for record in records])

    def level(record: R) -> Level:
        near = sees.everything or record.owner in sees.partners or record.place_id in staffed
        return "staff" if near else "public"

    homes = [r.place_id for r in records if r.is_home and level(r) == "public"]
    at = await places.public_places(homes)
    return [
        disclose(record, level(record), own=record.owner in sees.partners, at=at)
        for record in records
    ]


def public_point(location: values.Point | None, is_home: bool) -> values.Point | None:
    """What everybody may know of a position: all of it, or of a home the middle of its cell.

    It depends on nothing but the position, so that asking often brings nothing.
    """
    if location is None or not is_home:
        return location
    return values.point(*snapped(values.micro(location.lat), values.micro(location.lon)))


def snapped(lat_e6: int, lon_e6: int) -> tuple[int, int]:
    """The middle of the cell of a home; of the middle, itself."""
    lat = lat_e6 // SNAP_LAT_E6 * SNAP_LAT_E6 + SNAP_LAT_E6 // 2
    lon = lon_e6 // SNAP_LON_E6 * SNAP_LON_E6 + SNAP_LON_E6 // 2
    return min(lat, 90_000_000), min(lon, 180_000_000)


def public_position(location: values.Point | None, is_home: bool) -> dict[str, int | None]:
    """The public point as its two columns."""
    found = values.position(public_point(location, is_home))
    return {f"public_{name}": value for name, value in found.items()}


def mask(phone: str) -> str:
    """A phone number with its country code and its last four digits, the others as stars."""
    code = re.match(r"\+[0-9]{1,3}(?=[ -])", phone)
    kept = code.end() if code else 0
    digits = [at for at, letter in enumerate(phone) if letter.isdigit() and at >= kept]
    hidden = set(digits[: len(digits) - min(4, len(digits) // 2)])
    return "".join("*" if at in hidden else letter for at, letter in enumerate(phone))


def _roughly(
    record: Any, exact: frozenset[str], at: Mapping[uuid.UUID, uuid.UUID]
) -> dict[str, Any]:
    """What everybody may know of where a home is, for those of these fields that it has."""
    found: dict[str, Any] = {}
    if "location" in exact:
        found = {"location": public_point(record.location, True), "location_exact": False}
    if "place_id" in exact:
        found["place_id"] = at[record.place_id]
    return found


@functools.cache
def _withheld(kind: type, level: Level) -> tuple[dict[str, UnsetType], frozenset[str]]:
    """The fields that a reader of that level sees nothing of, and those that say where something
    is: withheld of a home alone."""
    allowed = LEVELS.index(level)
    names = {
        name
        for name in kind.__struct_fields__  # type: ignore[attr-defined]
        if LEVELS.index(field_level(kind, name)) > allowed
    }
    exact = frozenset(names & {"location", "place_id"})
    return dict.fromkeys(sorted(names - exact), UNSET), exact


@functools.cache
def _masked(kind: type) -> tuple[str, ...]:
    return tuple(name for holder, name in _MASKED if holder == kind.__name__)


@functools.cache
def _inside(kind: type) -> tuple[str, ...]:
    """The fields that hold records of their own."""
    return tuple(name for name, named in _RECORDS[kind.__name__][1].items() if not named)
