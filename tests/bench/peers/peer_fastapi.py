"""What people would write otherwise: FastAPI, SQLAlchemy's async ORM and Pydantic, and no more.

No sign-in, no limits, no request id, no log, no audit trail, no outbox: three bare routes.

    python -m tests.bench.peers.peer_fastapi postgres://… ACCOUNT
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
import sys
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import uuid_utils.compat
from fastapi import Depends, FastAPI, HTTPException, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import DateTime, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from tests.bench import peers

_URL, _ACCOUNT = sys.argv[1], uuid.UUID(sys.argv[2])
_engine = create_async_engine(
    _URL.replace("postgres://", "postgresql+asyncpg://").partition("?")[0],
    pool_size=8,
    max_overflow=0,
)
_sessions = async_sessionmaker(_engine, expire_on_commit=False)


class Base(DeclarativeBase):
    pass


class Need(Base):
    __tablename__ = "need"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    place: Mapped[uuid.UUID]
    public_place: Mapped[uuid.UUID]
    posted_by: Mapped[uuid.UUID]
    service_type: Mapped[str]
    title_zh: Mapped[str]
    title_en: Mapped[str]
    description_zh: Mapped[str]
    description_en: Mapped[str]
    lat_e6: Mapped[int | None]
    lon_e6: Mapped[int | None]
    public_lat_e6: Mapped[int | None]
    public_lon_e6: Mapped[int | None]
    beneficiary: Mapped[str]
    radius_m: Mapped[int | None]
    beneficiaries: Mapped[int]
    priority: Mapped[str]
    windows: Mapped[str]
    slots: Mapped[str]
    min_coverage_bp: Mapped[int]
    budget_amount: Mapped[int | None]
    budget_currency: Mapped[str | None]
    budget_per: Mapped[str | None]
    status: Mapped[str]
    version: Mapped[int]
    created_at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True))
    updated_at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True))


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Bilingual(Strict):
    zh: str = Field("", max_length=4000)
    en: str = Field("", max_length=4000)


class Point(Strict):
    lat: float = Field(ge=-90, le=90)
    lon: float = Field(ge=-180, le=180)


class Price(Strict):
    amount: int = Field(ge=0, le=10**12)
    currency: str = Field("CNY", pattern=r"^[A-Z]{3}$")
    per: Literal["session", "week", "month"] = "session"


class Window(Strict):
    days: list[Annotated[int, Field(ge=1, le=7)]] = Field(min_length=1, max_length=7)
    start: str = Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    end: str = Field(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")
    timezone: str = Field("Asia/Shanghai", max_length=64)
    from_: dt.date | None = Field(None, alias="from")
    until: dt.date | None = None
    except_: list[dt.date] = Field(default=[], alias="except", max_length=366)


class Slot(Strict):
    role: str = Field(pattern=r"^[a-z0-9_-]{1,64}$")
    kind: Literal["space", "merchant", "volunteer", "vanguard", "goods"]
    quantity: int = Field(1, ge=1, le=1000)
    features: list[str] = Field(default=[], max_length=32)
    min_capacity: int | None = Field(None, ge=0)
    credentials: list[str] = Field(default=[], max_length=16)
    preferred_credentials: list[str] = Field(default=[], max_length=16)
    languages: list[str] = Field(default=[], max_length=8)
    mode: Literal["each", "rota"] = "each"


class NeedDraft(Strict):
    service_type: str = Field(pattern=r"^[a-z0-9_-]{1,64}$")
    place_id: uuid.UUID
    title: Bilingual
    description: Bilingual = Bilingual()
    location: Point | None = None
    radius_m: int | None = Field(None, ge=0, le=1_000_000)
    beneficiaries: int = Field(0, ge=0, le=1_000_000)
    priority: Literal["normal", "elders", "children", "special"] = "normal"
    windows: list[Window] = Field(min_length=1, max_length=32)
    min_coverage: float = Field(1.0, ge=0, le=1)
    budget: Price | None = None
    slots: list[Slot] = Field(min_length=1, max_length=16)
    status: Literal["draft", "open"] = "open"


class NeedRecord(BaseModel):
    id: uuid.UUID
    service_type: str
    place_id: uuid.UUID
    title: Bilingual
    description: Bilingual
    location: Point | None
    location_exact: bool = True
    radius_m: int | None
    beneficiaries: int
    priority: str
    windows: list[Window]
    min_coverage: float
    budget: Price | None
    slots: list[Slot]
    status: str
    version: int
    created_at: dt.datetime
    updated_at: dt.datetime


class Page(BaseModel):
    items: list[NeedRecord]
    next: str | None


@contextlib.asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    yield
    await _engine.dispose()


app = FastAPI(lifespan=_lifespan)


async def _session() -> AsyncIterator[AsyncSession]:
    async with _sessions() as session:
        yield session


Session = Annotated[AsyncSession, Depends(_session)]


@app.get("/v1/needs")
async def list_needs(
    session: Session,
    status: str | None = None,
    service_type: str | None = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Page:
    query = select(Need).where(Need.status == "open").order_by(Need.id.desc()).limit(limit + 1)
    if status:
        query = query.where(Need.status == status)
    if service_type:
        query = query.where(Need.service_type == service_type)
    if cursor:
        query = query.where(Need.id < uuid.UUID(bytes=base64.urlsafe_b64decode(cursor + "==")))
    found = (await session.scalars(query)).all()
    more = len(found) > limit
    last = (
        base64.urlsafe_b64encode(found[limit - 1].id.bytes).rstrip(b"=").decode() if more else None
    )
    return Page(items=[_record(need) for need in found[:limit]], next=last)


@app.get("/v1/needs/{need_id}")
async def get_need(session: Session, need_id: uuid.UUID) -> NeedRecord:
    need = await session.get(Need, need_id)
    if need is None or need.status != "open":
        raise HTTPException(404)
    return _record(need)


@app.post("/v1/needs", status_code=201)
async def post_need(session: Session, draft: NeedDraft) -> NeedRecord:
    now = dt.datetime.now(dt.UTC)
    at = draft.location
    lat = round(at.lat * 1_000_000) if at else None
    lon = round(at.lon * 1_000_000) if at else None
    need = Need(
        id=uuid_utils.compat.uuid7(),
        place=draft.place_id,
        public_place=draft.place_id,
        posted_by=_ACCOUNT,
        service_type=draft.service_type,
        title_zh=draft.title.zh,
        title_en=draft.title.en,
        description_zh=draft.description.zh,
        description_en=draft.description.en,
        lat_e6=lat,
        lon_e6=lon,
        public_lat_e6=lat,
        public_lon_e6=lon,
        beneficiary="community",
        radius_m=draft.radius_m,
        beneficiaries=draft.beneficiaries,
        priority=draft.priority,
        windows=_json(draft.windows),
        slots=_json(draft.slots),
        min_coverage_bp=round(draft.min_coverage * 10_000),
        budget_amount=draft.budget.amount if draft.budget else None,
        budget_currency=draft.budget.currency if draft.budget else None,
        budget_per=draft.budget.per if draft.budget else None,
        status=draft.status,
        version=1,
        created_at=now,
        updated_at=now,
    )
    session.add(need)
    await session.commit()
    return _record(need)


def _json(models: list[Any]) -> str:
    return json.dumps([model.model_dump(mode="json", by_alias=True) for model in models])


def _record(need: Need) -> NeedRecord:
    at = need.lat_e6 is not None and need.lon_e6 is not None
    budget = need.budget_amount is not None
    return NeedRecord(
        id=need.id,
        service_type=need.service_type,
        place_id=need.place,
        title=Bilingual(zh=need.title_zh, en=need.title_en),
        description=Bilingual(zh=need.description_zh, en=need.description_en),
        location=Point(lat=need.lat_e6 / 1e6, lon=need.lon_e6 / 1e6) if at else None,
        radius_m=need.radius_m,
        beneficiaries=need.beneficiaries,
        priority=need.priority,
        windows=[Window(**window) for window in json.loads(need.windows)],
        min_coverage=need.min_coverage_bp / 10_000,
        budget=Price(amount=need.budget_amount, currency=need.budget_currency, per=need.budget_per)
        if budget
        else None,
        slots=[Slot(**slot) for slot in json.loads(need.slots)],
        status=need.status,
        version=need.version,
        created_at=need.created_at,
        updated_at=need.updated_at,
    )


if __name__ == "__main__":
    peers.serve(app)
