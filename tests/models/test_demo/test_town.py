"""The demo town before it is written: the same everywhere, whole in both languages."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import shapely
import shapely.geometry

from models import accounts, needs, offerings, partners, places, services
from models.demo import shapes, town
from models.demo.draw import Draw
from tests.models.test_demo.days import DAYS, TODAY

ROOT = Path(__file__).parents[3]
CHINESE = re.compile(r"[\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def made() -> town.Town:
    """The town of one day."""
    return town.town(TODAY)


def digest(of: town.Town) -> str:
    """A town as one number."""
    return hashlib.sha256(msgspec.json.encode(of, order="deterministic")).hexdigest()


# The same everywhere


def test_the_same_day_gives_the_same_town() -> None:
    assert digest(town.town(TODAY)) == digest(town.town(TODAY))


def test_another_process_with_other_hashes_and_another_locale_gives_the_same_town() -> None:
    code = (
        "import datetime as dt, hashlib, msgspec; from models.demo import town;"
        "of = town.town(dt.date(2026, 11, 22));"
        "print(hashlib.sha256(msgspec.json.encode(of, order='deterministic')).hexdigest())"
    )
    other = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    environ = {**os.environ, "PYTHONHASHSEED": other, "LC_ALL": "C", "TZ": "America/New_York"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True
    )
    assert done.stdout.strip() == digest(town.town(TODAY)), done.stderr


def test_the_draws_stay_what_they_were_on_every_version_of_python() -> None:
    draw = Draw(1)
    assert [draw.between(0, 9) for _ in range(8)] == [1, 8, 7, 2, 4, 4, 6, 7]
    assert [draw.pick("abc") for _ in range(4)] == ["a", "a", "c", "b"]


# The published numbers


def test_jiangbei_has_62_partners_3_senior_homes_and_34_activity_stations(made: town.Town) -> None:
    admitted = [
        partner
        for partner in made.partners
        if partner.status == "admitted" and "jiangbei" in lineage(made, partner.place)
    ]
    there = Counter(
        service
        for offering in made.offerings
        if "jiangbei" in lineage(made, offering.place)
        for service in offering.draft.service_types
    )
    assert len(admitted) == 62
    assert there["senior_home"] == 3
    assert there["activity_station"] == 34


def test_the_property_company_brings_37_rooms_in_one_intake(made: town.Town) -> None:
    rooms = [entry for entry in made.offerings if entry.partner == "jiaxin-property"]
    assert len(rooms) == 37
    assert {entry.draft.kind for entry in rooms} == {"space"}


def test_the_profiles_are_the_published_ones(made: town.Town) -> None:
    of = {place.slug: place for place in made.places}
    qiaobei, zhanggong = of["qiaobei"], of["zhanggong"]
    assert (qiaobei.area_m2, qiaobei.population) == (300_000, 11_000)
    assert (zhanggong.area_m2, zhanggong.population, zhanggong.households) == (
        2_300_000,
        60_000,
        9_760,
    )
    assert len([slug for slug in of if slug.startswith("zhanggong-grid-")]) == 9


def test_the_grids_of_a_community_add_up_to_it(made: town.Town) -> None:
    of = {place.slug: place for place in made.places}
    for slug in ("qiaobei", "jinshijie", "yanghe", "yubei", "zhanggong"):
        grids = [of[name] for name in of if name.startswith(f"{slug}-grid-")]
        assert sum(grid.population or 0 for grid in grids) == of[slug].population
        assert sum(grid.households or 0 for grid in grids) == of[slug].households


def test_there_is_enough_to_choose_from_and_not_too_much(made: town.Town) -> None:
    kinds = Counter(entry.draft.kind for entry in made.offerings)
    assert 250 <= len(made.offerings) <= 400
    assert set(kinds) == {"space", "merchant", "volunteer", "vanguard", "goods"}
    assert {entry.draft.kind for entry in made.partners} == {
        "institution",
        "enterprise",
        "sole_trader",
        "social_org",
        "resident_group",
        "resident",
    }
    assert {entry.status for entry in made.partners} == set(get_args(partners.PartnerStatus))


# Whole


@pytest.mark.parametrize("today", DAYS, ids=str)
def test_every_draft_is_one_that_a_caller_could_send(today: dt.date) -> None:
    of_today = town.town(today)
    for place in of_today.places:
        msgspec.json.decode(msgspec.json.encode(place), type=places.PlaceDraft)
    for entries, kind in (
        (of_today.partners, partners.PartnerDraft),
        (of_today.offerings, offerings.OfferingDraft),
        (of_today.needs, needs.NeedDraft),
    ):
        for entry in entries:
            sent = msgspec.json.encode(entry.draft)
            assert msgspec.json.decode(sent, type=kind) == entry.draft


def test_every_text_is_there_in_both_languages_and_the_chinese_is_chinese(made: town.Town) -> None:
    texts = list(every_text(msgspec.to_builtins([made, services.shipped()])))
    assert len(texts) > 700
    for text in texts:
        assert CHINESE.search(text["zh"]), text
        assert re.search("[A-Za-z]", text["en"]), text
        assert not CHINESE.search(text["en"]), text
        assert "{" not in text["zh"] + text["en"], text


def test_every_boundary_is_valid_and_lies_in_its_parents(made: town.Town) -> None:
    shape_of = {
        place.slug: shapely.geometry.shape(place.boundary)
        for place in made.places
        if place.boundary
    }
    assert len(shape_of) == 2 + 5 + 3 + 2 + 2 + 2 + 9
    for slug, shape in shape_of.items():
        assert shape.is_valid, shapely.is_valid_reason(shape)
        for above in lineage(made, slug)[1:]:
            if above in shape_of:
                assert shape_of[above].buffer(0.00002).contains(shape), (slug, above)


def test_a_stated_area_is_that_of_the_boundary(made: town.Town) -> None:
    for place in made.places:
        if place.boundary and place.area_m2:
            shape = shapely.geometry.shape(place.boundary)
            across = 111_320 * math.cos(math.radians(shape.centroid.y))
            assert shape.area * 110_900 * across == pytest.approx(place.area_m2, rel=0.02)


def test_what_is_offered_lies_in_its_community(made: town.Town) -> None:
    shape_of = {
        place.slug: shapely.geometry.shape(place.boundary)
        for place in made.places
        if place.boundary
    }
    for entry in made.offerings:
        community = next(slug for slug in lineage(made, entry.place) if slug in shape_of)
        assert entry.draft.location is not None, entry.key
        point = shapely.Point(entry.draft.location.lon, entry.draft.location.lat)
        assert shape_of[community].buffer(0.0003).contains(point), entry.key


def test_whatever_is_referred_to_exists(made: town.Town) -> None:
    known = {service.slug for service in services.shipped()}
    slugs = {place.slug for place in made.places}
    keys = {partner.key for partner in made.partners}
    logins = {person.login for person in made.people}
    for entry in made.offerings:
        assert set(entry.draft.service_types) <= known, entry.key
        assert entry.partner in keys, entry.key
        assert {entry.place, *entry.served} <= slugs, entry.key
        assert entry.jobs_kept <= entry.jobs_agreed, entry.key
        assert 0 <= entry.rating_sum <= 500 * entry.ratings, entry.key
    for need in made.needs:
        assert need.draft.service_type in known, need.key
        assert need.place in slugs, need.key
    assert {partner.applicant for partner in made.partners} <= logins
    assert {name for story in made.stories for name in story.needs} <= {n.key for n in made.needs}


def test_nothing_that_must_be_unique_is_there_twice(made: town.Town) -> None:
    drafts = [entry.draft for entry in (*made.partners, *made.offerings)]
    for unique in (
        [entry.key for entry in made.partners],
        [entry.key for entry in made.offerings],
        [entry.key for entry in made.needs],
        [(entry.partner, entry.draft.title) for entry in made.offerings],
        [entry.draft.credit_code for entry in made.partners if entry.draft.credit_code],
        [held.number for draft in drafts for held in draft.credentials],
    ):
        assert [name for name, count in Counter(unique).items() if count > 1] == []


def test_a_need_is_posted_by_somebody_who_may(made: town.Town) -> None:
    at = {person.login: person.place for person in made.people}
    roles = {person.login: person.role for person in made.people}
    for need in made.needs:
        deciding = roles[need.posted_by] in accounts.STAFF
        allowed = deciding and at[need.posted_by] in lineage(made, need.place)
        assert allowed or roles[need.posted_by] == "operator", need.key


@pytest.mark.parametrize("today", DAYS, ids=str)
def test_nothing_on_offer_has_run_out_and_no_need_is_over(today: dt.date) -> None:
    of_today = town.town(today)
    hours = [window for entry in of_today.offerings for window in entry.draft.availability]
    asked = [window for entry in of_today.needs for window in entry.draft.windows]
    assert all(window.until is None or window.until >= today for window in (*hours, *asked))
    assert all(entry.draft.availability for entry in of_today.offerings)


def test_a_credit_code_passes_the_check_of_its_standard(made: town.Town) -> None:
    digits = "0123456789ABCDEFGHJKLMNPQRTUWXY"
    weights = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)
    codes = [entry.draft.credit_code for entry in made.partners if entry.draft.credit_code]
    assert len(codes) > 40
    for code in codes:
        total = sum(
            digits.index(sign) * weight for sign, weight in zip(code[:17], weights, strict=True)
        )
        assert digits.index(code[17]) == (31 - total % 31) % 31


# The taxonomy


def test_the_taxonomy_covers_what_communities_do() -> None:
    known = services.shipped()
    assert len(known) >= 32
    assert len({service.slug for service in known}) == len(known)
    for service in known:
        assert service.synonyms.zh, service.slug
        assert service.synonyms.en, service.slug
        assert all(CHINESE.search(word) for word in service.synonyms.zh), service.slug


def test_a_word_means_one_service() -> None:
    words = [
        word.lower()
        for service in services.shipped()
        for word in (service.name.zh, service.name.en, *service.synonyms.zh, *service.synonyms.en)
    ]
    assert [word for word, count in Counter(words).items() if count > 1] == []


def lineage(made: town.Town, slug: str) -> list[str]:
    """A place and everything above it."""
    by_id = {shapes.stand_in("place", place.slug): place for place in made.places}
    found = [by_id[shapes.stand_in("place", slug)]]
    while found[-1].parent_id is not None:
        found.append(by_id[found[-1].parent_id])
    return [place.slug for place in found]


def every_text(tree: Any) -> Iterator[dict[str, str]]:
    """Every {zh, en} pair of texts, however deep."""
    if isinstance(tree, dict):
        if isinstance(tree.get("zh"), str):
            yield tree
        for branch in tree.values():
            yield from every_text(branch)
    elif isinstance(tree, list | tuple):
        for branch in tree:
            yield from every_text(branch)
