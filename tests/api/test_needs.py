"""Needs over HTTP."""

from __future__ import annotations

from tests.towns import Town, a_need


async def test_a_secretary_posts_a_need_and_everybody_reads_it(town: Town) -> None:
    need = await town.make("/v1/needs", a_need(town))
    read = await town.get(f"/v1/needs/{need['id']}")
    # For whom it is, is for the staff to know.
    assert {**read, "beneficiary": "community"} == need
    assert read["windows"][0]["start"] == "06:30"


async def test_nobody_posts_a_need_without_signing_in(town: Town) -> None:
    answer = await town.as_("anonymous", "POST", "/v1/needs", json=a_need(town))
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
