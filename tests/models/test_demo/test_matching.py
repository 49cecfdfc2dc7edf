"""The demo town before the matcher: every need finds somebody, and the stories come true."""

from __future__ import annotations

import datetime as dt

import pytest

from models import base, partners, services, values
from models.demo import shapes, town
from search import candidates, scoring, windows
from search.gates import Licence, NeedFacts, OfferingFacts
from tests.models.test_demo.days import DAYS, TODAY

# What nobody nearby can do yet, on purpose: the answer is who would be next best, and why not.
UNFILLED = {"rehabilitation-yubei": {"therapist"}}


@pytest.mark.parametrize("today", DAYS, ids=str)
def test_every_need_finds_as_many_partners_as_its_roles_take(
    today: dt.date, monkeypatch: pytest.MonkeyPatch
) -> None:
    matcher = Matcher(today, monkeypatch)
    for need in matcher.town.needs:
        lists = [
            [partner for partner, _ in matcher.fitting(need.key, slot)]
            for slot in need.draft.slots
            for _ in range(slot.quantity)
        ]
        unfilled = {slot.role for slot in need.draft.slots if not matcher.fitting(need.key, slot)}
        assert unfilled == UNFILLED.get(need.key, set()), need.key
        told = any(need.key in story.needs for story in matcher.town.stories)
        if told:
            assert can_choose_distinct(lists), f"{need.key}: one partner would fill two roles"


@pytest.mark.parametrize(
    ("need", "offering", "gates"),
    [
        ("breakfast-at-dawn", "zhou-breakfast", ()),
        ("breakfast-at-dawn", "chen-buns", ("time",)),
        ("breakfast-at-dawn", "bridge-noodles", ("credentials",)),
        ("produce-by-building-5", "luo-greens", ()),
        ("lunch-for-elders", "silver-lunch", ()),
        ("lunch-for-elders", "yuwei-lunch", ("credentials",)),
        ("lunch-for-elders", "jinshijie-canteen", ("features", "budget")),
        ("summer-tutoring", "prof-zhang-science", ()),
        ("doctor-in-the-evening", "dr-li", ()),
        ("doctor-in-the-evening", "dr-chen", ("credentials",)),
        ("doctor-in-the-evening", "dr-tang", ("credentials",)),
        ("doctor-in-the-evening", "dr-wu", ("load",)),
        ("doctor-in-the-evening", "dr-qin", ("radius",)),
        ("aed-cover", "aed-gate-3", ()),
        ("aed-cover", "aed-building-5", ("credentials",)),
        ("aed-cover", "aed-library", ("time",)),
    ],
)
def test_the_stories_turn_out_as_they_are_told(
    need: str, offering: str, gates: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    matcher = Matcher(TODAY, monkeypatch)
    answer = matcher.evaluate(need, offering)
    shut = answer.gates if isinstance(answer, scoring.Exclusion) else ()
    assert shut == gates


def test_the_toolroom_serves_three_services_at_different_hours() -> None:
    made = town.town(TODAY)
    toolroom = next(entry.draft for entry in made.offerings if entry.key == "toolroom")
    hours = [(window.start, window.end) for window in toolroom.availability]
    assert toolroom.service_types == ("breakfast_point", "daily_necessities", "fresh_produce")
    assert hours == [("06:30", "09:00"), ("10:00", "14:00"), ("15:00", "19:00")]


def test_weights_of_a_service_still_add_up_to_a_hundred() -> None:
    for service in services.shipped():
        weights = candidates.weights_of(service)
        assert sum(getattr(weights, part) for part in scoring.PARTS) == 100, service.slug


class Matcher:
    """The matcher over the town as it is written, without a database."""

    def __init__(self, today: dt.date, monkeypatch: pytest.MonkeyPatch) -> None:
        noon = dt.datetime.combine(today, dt.time(4), dt.UTC)
        monkeypatch.setattr(base, "clock", lambda: noon)
        self.town = town.town(today)
        self._needs = {entry.key: entry for entry in self.town.needs}
        self._partners = {entry.key: entry for entry in self.town.partners}
        self._weights = {s.slug: candidates.weights_of(s) for s in services.shipped()}
        self._facts = {entry.key: self._offering(entry) for entry in self.town.offerings}

    def fitting(self, need: str, slot: values.Slot) -> list[tuple[str, str]]:
        """Partner and key of each offering that passes every gate."""
        asked, weights = self._need(need), self._weights[self._needs[need].draft.service_type]
        return [
            (entry.partner, entry.key)
            for entry in self.town.offerings
            if scoring.rank_key(asked, slot, self._facts[entry.key], weights)
        ]

    def evaluate(self, need: str, offering: str) -> scoring.Match | scoring.Exclusion:
        """One offering for the slot of its kind."""
        draft, facts = self._needs[need].draft, self._facts[offering]
        slot = next(slot for slot in draft.slots if slot.kind == facts.kind)
        return scoring.evaluate(self._need(need), slot, facts, self._weights[draft.service_type])

    def _need(self, key: str) -> NeedFacts:
        return candidates.facts_of(key, 1, self._needs[key].draft, "Asia/Shanghai")

    def _offering(self, entry: shapes.Offering) -> OfferingFacts:
        draft, partner = entry.draft, self._partners[entry.partner]
        held = [
            licence(credential, credential.number in seen)
            for credentials, seen in (
                (draft.credentials, entry.verified),
                (partner.draft.credentials, partner.verified),
            )
            for credential in credentials
        ]
        hours = draft.max_hours_week
        return OfferingFacts(
            id=entry.key,
            version=1,
            kind=draft.kind,
            partner=entry.partner,
            services=draft.service_types,
            partner_status=partner.status,
            **values.position(draft.location),
            reach_m=draft.reach_m,
            capacity=draft.capacity,
            price_amount=draft.price.amount,
            per=draft.price.per,
            availability=draft.availability,
            licences=tuple(held),
            features=draft.features,
            requires_features=draft.requires_features,
            languages=draft.languages,
            max_minutes_week=None if hours is None else hours * 60,
            max_contacts_week=draft.max_contacts_week,
        )


def licence(credential: partners.CredentialDraft, verified: bool) -> Licence:
    """A stated licence as the matcher sees it."""
    begins, ends, zone = credential.valid_from, credential.valid_to, "Asia/Shanghai"
    return Licence(
        credential.kind,
        valid_from=windows.start_of_day(begins, zone) if begins else None,
        valid_to=windows.end_of_day(ends, zone) if ends else None,
        verified=verified,
    )


def can_choose_distinct(lists: list[list[str]], taken: frozenset[str] = frozenset()) -> bool:
    """Whether one can be chosen from each list so that nobody is chosen twice."""
    if not lists:
        return True
    return any(
        can_choose_distinct(lists[1:], taken | {name}) for name in lists[0] if name not in taken
    )
