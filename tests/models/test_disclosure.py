"""The table of classes: complete, strict, and homes that cannot be told apart."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from models import bookings, disclosure, needs, offerings, partners, places, tables, values
from search import gates

RECORDS: list[type[Any]] = [
    places.PlaceRecord,
    partners.PartnerRecord,
    partners.CredentialRecord,
    offerings.OfferingRecord,
    needs.NeedRecord,
    needs.ConsentRecord,
    bookings.BookingRecord,
]
# Read by its own people alone, or not at all.
FOR_STAFF = (needs.ConsentRecord, bookings.BookingRecord)
COLUMNS = [
    (table._meta.tablename, column._meta.db_column_name)
    for table in tables.TABLES
    for column in table._meta.columns
]
LATITUDES = st.integers(-90_000_000, 90_000_000)
LONGITUDES = st.integers(-180_000_000, 180_000_000)


def test_every_column_of_every_table_has_a_class() -> None:
    levels = {place: disclosure.level_of(*place) for place in COLUMNS}
    assert {place for place, level in levels.items() if level not in disclosure.LEVELS} == set()


def test_no_class_is_given_to_a_column_that_does_not_exist_or_twice() -> None:
    assert set(disclosure._LEVEL_OF) == set(COLUMNS)
    stated = [
        column
        for classes in disclosure._CLASSES.values()
        for columns in classes.values()
        for column in columns.split()
    ]
    assert len(stated) == len(COLUMNS)


@pytest.mark.parametrize("column", ["password_hash", "token_hash", "key_hash"])
def test_what_recognises_a_secret_is_secret(column: str) -> None:
    found = [disclosure.level_of(*place) for place in COLUMNS if place[1] == column]
    assert found
    assert set(found) == {"secret"}


@pytest.mark.parametrize("kind", RECORDS)
def test_every_field_of_a_record_has_a_class_and_can_be_withheld_if_it_must(kind: Any) -> None:
    for field, hint in get_type_hints(kind).items():
        level = disclosure.field_level(kind, field)
        replaced = field in ("location", "place_id")
        if level != "public" and not replaced and kind not in FOR_STAFF:
            assert UnsetType in get_args(hint), field


def test_a_row_keeps_only_the_columns_of_its_reader() -> None:
    row = {"id": 1, "contact_phone": "+86 23 6789 0001", "status": "admitted"}
    assert disclosure.columns("partner", row, "public") == {"id": 1, "status": "admitted"}
    assert disclosure.columns("partner", row, "matched") == row
    with pytest.raises(KeyError):
        disclosure.columns("partner", {"surprise": 1}, "staff")


@pytest.mark.parametrize(
    ("phone", "masked"),
    [
        ("+86 23 6789 0001", "+86 ** **** 0001"),
        ("+86-138-1234-5678", "+86-***-****-5678"),
        ("+8613812345678", "+*********5678"),
        ("023 6789 0001", "*** **** 0001"),
        ("12345", "***45"),
    ],
)
def test_a_masked_phone_keeps_its_country_and_its_last_digits(phone: str, masked: str) -> None:
    assert disclosure.mask(phone) == masked


def test_a_partner_is_masked_for_staff_whole_for_its_own_and_bare_for_everybody_else() -> None:
    phone = "+86 23 6789 0001"
    partner = _partner(phone)
    assert disclosure.disclose(partner, "staff", own=True) == partner
    staff = disclosure.disclose(partner, "staff")
    assert (staff.contact_name, staff.contact_phone) == ("周梅", "+86 ** **** 0001")
    assert staff.credentials[0].number == "D1"
    public = disclosure.disclose(partner, "public")
    assert (public.contact_name, public.contact_phone) == (UNSET, UNSET)
    assert public.credentials[0].number is UNSET
    assert disclosure.disclose(_partner(None), "staff").contact_phone is None


@given(LATITUDES, LONGITUDES)
def test_a_public_point_is_stable_near_and_within_the_same_candidate_cell(
    lat: int, lon: int
) -> None:
    point = disclosure.snapped(lat, lon)
    assert disclosure.snapped(*point) == point
    assert offerings.cell(*point) == offerings.cell(lat, lon)
    assert gates.distance_m(lat, lon, *point) <= 280
    assert abs(point[0]) <= 90_000_000
    assert abs(point[1]) <= 180_000_000


@given(LATITUDES, LONGITUDES, st.integers(0, 2_249), st.integers(0, 4_499))
def test_all_homes_of_a_cell_have_one_public_point(
    lat: int, lon: int, north: int, east: int
) -> None:
    south = lat // disclosure.SNAP_LAT_E6 * disclosure.SNAP_LAT_E6
    west = lon // disclosure.SNAP_LON_E6 * disclosure.SNAP_LON_E6
    assert disclosure.snapped(south + north, west + east) == disclosure.snapped(lat, lon)


def test_a_place_of_business_is_public_to_the_metre() -> None:
    point = values.Point(29.570001, 106.550001)
    assert disclosure.public_point(point, False) == point
    assert disclosure.public_point(point, True) != point
    assert disclosure.public_point(None, True) is None


def _partner(phone: str | None) -> partners.PartnerRecord:
    moment = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return partners.PartnerRecord(
        id=uuid.UUID(int=1),
        kind="sole_trader",
        place_id=uuid.UUID(int=2),
        owner_place_id=None,
        name=values.Bilingual("周姐早餐", "Zhou's breakfasts"),
        credit_code=None,
        contact_name="周梅",
        contact_phone=phone,
        credentials=(
            partners.CredentialRecord(
                id=uuid.UUID(int=3),
                kind="doctor_licence",
                issuer="卫健委",
                number="D1",
                valid_from=None,
                valid_to=None,
                verified_by=None,
                verified_at=None,
            ),
        ),
        status="admitted",
        version=1,
        created_at=moment,
        updated_at=moment,
    )
