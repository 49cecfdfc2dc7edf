"""The service matrix and the shares of the fairness account, on the pure functions."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from models import coverage, fairness, places, services, values

NAME = values.Bilingual("桥北", "Qiaobei")
PARTS = [coverage.Part(uuid.UUID(int=n), NAME, 3_000 * n or None, 10_000 * n) for n in range(3)]
_PROFILE = st.none() | st.integers(0, 10**7)
_SLUGS = [service.slug for service in services.shipped()]
_COUNTS = st.dictionaries(
    st.tuples(
        st.sampled_from(_SLUGS), st.none() | st.sampled_from([part.place_id for part in PARTS])
    ),
    st.integers(0, 10**6),
)


def _place(population: int | None, area_m2: int | None) -> places.PlaceRecord:
    moment = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return places.PlaceRecord(
        id=uuid.UUID(int=9),
        slug="qiaobei",
        kind="community",
        parent_id=None,
        name=NAME,
        population=population,
        households=None,
        area_m2=area_m2,
        boundary=None,
        location=None,
        timezone="Asia/Shanghai",
        status="active",
        version=1,
        created_at=moment,
        updated_at=moment,
    )


@given(_COUNTS, _PROFILE, _PROFILE)
def test_gaps_are_the_cells_that_are_zero_and_ratios_are_right_to_the_last_digit(
    counts: dict[tuple[str, uuid.UUID | None], int], population: int | None, area_m2: int | None
) -> None:
    """B9."""
    place = _place(population, area_m2)
    found = coverage.matrix(place, 0, PARTS, services.shipped(), Counter(counts))
    zero = {
        (where, group, service.service_type)
        for service in found.services
        for group in service.age_groups
        for where, cell in ((place.id, service), *zip(_ids(), service.parts, strict=True))
        if not cell.offerings
    }
    told = {(gap.place_id, gap.age_group, s) for gap in found.gaps for s in gap.service_types}
    assert told == zero
    for service in found.services:
        assert service.offerings == sum(
            count for (slug, _), count in counts.items() if slug == service.service_type
        )
        for ratio, of_what, per in (
            (service.per_1000_residents, population, 1_000),
            (service.per_km2, area_m2, 1_000_000),
        ):
            assert (ratio is None) is (not of_what)
            if ratio is not None and of_what:
                exact = Fraction(service.offerings * per, of_what)
                assert abs(Fraction(ratio) - exact) <= Fraction(1, 2_000)


def _ids() -> list[uuid.UUID]:
    return [part.place_id for part in PARTS]


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=5))
def test_a_share_is_whole_only_when_everybody_was_served(pairs: list[tuple[int, int]]) -> None:
    counts = [(max(pair), min(pair), 0, 0) for pair in pairs]
    found = fairness.Share(**fairness.share(counts))
    assert (found.asked, found.served) == (sum(c[0] for c in counts), sum(c[1] for c in counts))
    assert (found.share is None) is (found.asked == 0)
    if found.share:
        assert (found.share == "1.000") is (found.served == found.asked)
        assert Fraction(found.share) <= Fraction(found.served, found.asked)
