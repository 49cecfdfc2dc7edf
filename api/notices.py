"""Notices: what the caller has been told of."""

from __future__ import annotations

import datetime as dt
import uuid

from litestar import Controller, Response, get, post
from litestar.params import FromPath, FromQuery
from msgspec import Struct

from api import answers, auth, labels, language, paging, shapes
from api.requests import StrictRequest
from models import accounts, notices, values


class NoticeOut(Struct, kw_only=True):
    """A notice, and what it says in the language of `Accept-Language`. `title` is null when what it
    tells of is not to be seen any more; then the text names it no more either."""

    id: uuid.UUID
    topic: notices.NoticeTopic
    text: str
    subject_kind: notices.SubjectKind
    subject_id: uuid.UUID
    title: values.Bilingual | None
    saved_search_id: uuid.UUID | None
    made_at: dt.datetime
    read_at: dt.datetime | None


class NoticeController(Controller):
    """The caller's own feed."""

    path = "/v1/notices"
    tags = ("notices",)

    @get(operation_id="list_notices", summary="List notices", signed_in=True)
    async def list_notices(
        self,
        request: StrictRequest,
        unread: FromQuery[bool] = False,
        cursor: paging.Cursor = None,
        limit: paging.Limit = 20,
        fields: paging.Fields = None,
    ) -> Response[paging.Page[NoticeOut]]:
        """What you have been told of, newest first."""
        names = answers.fields_of(NoticeOut, fields)
        found = await notices.browse(
            accounts.visibility(request.user),
            auth.account_of(request),
            after=paging.after(cursor),
            limit=limit + 1,
            unread=unread,
        )
        tongue = shapes.tongue_of(request)
        return answers.listed(request, [_out(notice, tongue) for notice in found], limit, names)

    @post(
        "/{notice_id:uuid}/read",
        operation_id="read_notice",
        summary="Mark a notice read",
        status_code=200,
        signed_in=True,
    )
    async def read(
        self, request: StrictRequest, notice_id: FromPath[uuid.UUID]
    ) -> Response[NoticeOut]:
        """You have read it; again changes nothing."""

        async def marked() -> NoticeOut:
            sees = accounts.visibility(request.user)
            account = auth.account_of(request)
            found = await notices.mark_read(sees, account, notice_id)
            return _out(found, shapes.tongue_of(request))

        return await answers.once(request, marked, status=200)


# By whether its search is still there and whether what it found may be seen: (Chinese, English).
_TEXTS = {
    (True, True): ("“{name}”有新结果：{title}", "New for “{name}”: {title}"),
    (True, False): ("“{name}”曾有新结果，现已不可见", "“{name}” found something that is gone now"),
    (False, True): ("有新结果：{title}", "New: {title}"),
    (False, False): ("曾有新结果，现已不可见", "Something was found that is gone now"),
}


def _out(notice: notices.NoticeRecord, tongue: language.Language) -> NoticeOut:
    title, name = notice.title, notice.saved_search_name
    template = _TEXTS[name is not None, title is not None][0 if tongue == "zh" else 1]
    shown = labels.title((title.zh, title.en), tongue) if title else ""
    return NoticeOut(
        id=notice.id,
        topic=notice.topic,
        text=template.format(name=name, title=shown),
        subject_kind=notice.subject_kind,
        subject_id=notice.subject_id,
        title=title,
        saved_search_id=notice.saved_search_id,
        made_at=notice.made_at,
        read_at=notice.read_at,
    )
