"""What the document says and no handler or type can: texts, and which refusals are possible.

Tests hold every table against the application, so that an endpoint without its row fails.
"""

from __future__ import annotations

from typing import Any

VERSION = "0.1.0"

# Tags in reading order, each in English and Chinese.
TAGS: dict[str, str] = {
    "sessions": "Sign in, renew, sign out. 登录、续期与退出。",
    "accounts": "Open an account, change it, ban it. 开户、修改与封禁。",
    "roles": "Who may act where, and lending a role. 角色与委托。",
    "invitations": "A role for whoever holds the token. 角色邀请。",
    "service keys": "Keys for programs of partners and communities. 供系统使用的服务密钥。",
    "places": "The tree municipality > district > subdistrict > community > grid > building, with"
    " profiles and coverage. 市、区、街道、社区、网格、楼栋及其概况与服务覆盖。",
    "service types": "What needs ask for and offerings give, in two languages. 双语服务分类。",
    "partners": "Who offers: admission and licences. 合作伙伴：准入与证照。",
    "offerings": "Spaces, merchants, volunteers, vanguards, goods."
    " 空间、商户、志愿者、先锋与物资。",
    "spaces": "Site, floor, room; idle, converting, active; who uses them now and next."
    " 场所、楼层与房间，闲置、改造与启用，当前与下一项服务。",
    "pools": "Places shared by the hour, and the ledger of how many there are."
    " 按小时共享的车位等名额及其容量台账。",
    "calendars": "When an offering is there; iCalendar in and out. 可用时间与日历。",
    "calendar feeds": "Secret addresses of calendars, for calendar programs."
    " 日历订阅：供日历软件使用的私密地址。",
    "bookings": "Times of an offering that are given away, so that nobody is given them twice."
    " 预订：同一时段绝不重复给出。",
    "groups": "Resident groups: members, and their sessions in a space. 居民团体：成员与活动场次。",
    "dockings": "Which partner is linked to which practical project of a place. 实事项目对接登记。",
    "trainings": "Trainings and study visits, and the skills they grant until a day."
    " 培训、参访及其授予的限期技能。",
    "needs": "What a community asks for. 社区需求。",
    "consents": "Who agreed to a need on somebody's behalf. 代他人提出需求的同意记录。",
    "matches": "Who fits a need and why, who does not and what would change that."
    " 匹配结果及其理由、未入选原因与改进办法。",
    "plans": "Who should serve whom over all open needs at once, and what if."
    " 对全部需求统筹安排，以及假设分析。",
    "proposals": "What a plan asks of whom, and who said no and why. 派单建议与婉拒原因。",
    "agreements": "What parties are asked and accept, who gives what and when, and every step after"
    " that. 协议：各方承诺、时段与全程记录。",
    "enrolments": "Places of a service for people, and the line of those who wait. 报名与候补。",
    "terms": "What an agreement's terms lead to: rent in hours, revenue shares, milestones."
    " 协议条款的履行：以公益服务抵租、收益分成、服务合同节点。",
    "ledger": "Money and hours that change hands, and the fund of a place."
    " 资金与服务时长账本、社区基金。",
    "tasks": "What the staff of a place have to do. 工作人员待办事项。",
    "occurrences": "The times of an agreement, and who came. 服务场次与签到。",
    "hours": "Hours given, to spend up to a cap and to give away; the signed service record."
    " 时间储蓄与可验证的服务记录。",
    "signatures": "The keys that signed records are checked with. 验签公钥。",
    "reviews": "What the sides say of each other once it is over, shown together. 双方互评。",
    "reports": "For the staff of a place: what keeps offerings out, who was served."
    " 供工作人员使用的统计：未入选原因、服务公平情况。",
    "search": "Full text in Chinese and English, filters, facets, nearness. 中英文搜索。",
    "saved searches": "Be told of what a search finds newly. 保存的搜索与提醒。",
    "recent searches": "What you have asked yourself. 最近搜索。",
    "notices": "What you have been told of. 通知。",
    "audit": "Who did what, sealed row by row. 审计记录。",
    "problems": "What the problem codes mean. 错误代码说明。",
    "health": "For whoever runs the service. 运行状态。",
    "metrics": "The service in numbers, for monitoring. 监控指标。",
}

# These need no database and no caller: a token adds nothing to them, a service key needs no scope.
WITHOUT_CALLER = frozenset({"problems", "health"})

# Beyond what follows from the shape of an endpoint (operations.refusals): which of 404, 409, 412
# and 422 it can answer too. Every test over HTTP fails on an answer that the document lacks.
REFUSALS: dict[str, tuple[int, ...]] = {
    "register_account": (409, 422),
    "change_password": (409, 422),
    "erase_account": (409, 422),
    "ban_account": (409,),
    "unban_account": (409,),
    "revoke_role": (409,),
    "invite": (422,),
    "withdraw_invitation": (409,),
    "accept_invitation": (409, 422),
    "give_role": (409, 422),
    "delegate_role": (409, 422),
    "make_service_key": (409, 422),
    "report_coverage": (404,),
    "report_exclusions": (404,),
    "report_fairness": (404,),
    "found_place": (409, 422),
    "change_place": (422,),
    "withdraw_place": (409,),
    "block_partner": (422,),
    "apply_as_partner": (422,),
    "move_partner": (409, 412, 422),
    "reject_partner": (409, 412),
    "suspend_partner": (409, 412),
    "exit_partner": (409, 412),
    "register_offering": (404, 409, 422),
    "register_offerings": (404, 409, 422),
    "change_offering": (409, 422),
    "import_availability": (409, 422),
    "import_busy": (422,),
    "make_calendar": (404, 409, 422),
    "book_offering": (409, 422),
    "place_space": (409, 422),
    "convert_space": (409, 412),
    "adjust_capacity": (409, 422),
    "join_group": (404, 409),
    "move_member": (404, 409),
    "book_series": (404, 409, 422),
    "cancel_series": (404, 409),
    "make_search_token": (404,),
    "confirm_booking": (409, 412),
    "cancel_booking": (409, 412),
    "propose_docking": (409, 422),
    "change_docking": (409,),
    "dock": (409, 412),
    "deliver_docking": (409, 412),
    "drop_docking": (409, 412),
    "export_docking_register": (422,),
    "hold_training": (422,),
    "complete_training": (409, 422),
    "withdraw_completion": (409,),
    "post_need": (422,),
    "change_need": (409, 422),
    "withdraw_need": (409,),
    "withdraw_offering": (409,),
    "withdraw_consent": (409,),
    "preview_need": (422,),
    "ask_for_plan": (422,),
    "cancel_plan": (404, 409),
    "propose_plan": (404, 409, 422),
    "what_if": (404, 422),
    "why_not_in_plan": (404, 409),
    "decline_proposal": (404, 409, 422),
    "propose_agreement": (409, 422),
    "change_terms": (404, 409, 422),
    "move_agreement": (409, 412, 422),
    "list_replacements": (422,),
    "count_places": (404, 409),
    "enrol": (404, 409),
    "cancel_enrolment": (409,),
    "record_service_hours": (404,),
    "reverse_service_hours": (404, 409),
    "state_revenue": (404, 409),
    "reverse_revenue": (404, 409),
    "inspect_milestone": (404,),
    "score_milestone": (404,),
    "pay_milestone": (404, 409),
    "do_task": (404, 409),
    "drop_task": (404, 409),
    "save_search": (422,),
    "check_in": (404, 409, 422),
    "check_out": (404, 409, 422),
    "correct_attendance": (404, 409, 422),
    "donate_hours": (409, 422),
    "spend_hours": (409, 422),
    "write_review": (404, 409, 422),
}
# These POSTs keep nothing, so they take no Idempotency-Key though they are for callers signed in.
KEEP_NOTHING = frozenset({"what_if"})

# Bodies that are not JSON: operation -> content type.
OTHER_BODIES = {"import_availability": "text/calendar", "import_busy": "text/calendar"}
# Answers that are JSON or, to who asks for it in Accept, something else.
OTHER_ANSWERS = {"export_account": "text/csv", "export_docking_register": "text/csv"}
# Answers that are not JSON and carry an ETag all the same.
OTHER_TAGS = frozenset({"export_availability"})
# Answers that are not JSON and are 304 to who has them (`answers.text`).
OTHER_CONDITIONAL = frozenset({"read_calendar"})

# Status -> its name among the shared answers, and the codes shown as examples with what fills
# their texts.
PROBLEMS: dict[int, tuple[str, dict[str, dict[str, Any]]]] = {
    400: (
        "Invalid",
        {"invalid": {}, "malformed": {"reason": "JSON is malformed: invalid character (byte 12)"}},
    ),
    401: ("Unauthenticated", {"unauthenticated": {}, "wrong_login": {}}),
    403: (
        "Forbidden",
        {
            "forbidden": {"roles": "operator, secretary"},
            "key_scope": {"scope": "needs"},
            "own_work": {},
        },
    ),
    404: ("NotFound", {"not_found": {}}),
    409: (
        "Conflict",
        {
            "wrong_state": {"has": "withdrawn", "needed": "draft | open"},
            "taken": {"field": "slug", "value": "qiaobei"},
            "in_use": {"what": "3 places"},
            "already_booked": {"times": "2026-12-01 22:30–01:00"},
            "full": {"left": 12},
            "closed_then": {},
            "filled": {"what": "places", "left": 0},
            "closed_on": {"times": "2026-12-01 22:30–01:00"},
            "booked_ahead": {"times": "2026-12-01 22:30–01:00"},
            "over_capacity": {"has": 60, "most": 40},
            "ledger_only": {"needed": "320"},
            "other_community": {},
            "not_now": {"opens": "2026-12-01 21:30", "closes": "2026-12-02 01:00"},
            "too_few_hours": {"left": 90_000},
            "already_held": {"role": "secretary"},
            "last_operator": {},
            "lent_role": {},
            "not_approved": {"state": "withheld", "left": 0},
            "invitation_over": {},
            "conflict": {"reason": "The password was changed in between."},
        },
    ),
    412: ("Stale", {"stale": {}}),
    413: ("TooLarge", {"too_large": {"limit": 65536}}),
    414: ("QueryTooLong", {"query_too_long": {"limit": 4096}}),
    415: ("UnsupportedMediaType", {"unsupported_media_type": {"needed": "application/json"}}),
    422: ("Unprocessable", {"unprocessable": {}, "key_reused": {}}),
    428: ("VersionNeeded", {"if_match_required": {}}),
    429: (
        "TooMany",
        {
            "too_many_requests": {"seconds": 12},
            "too_many_attempts": {"seconds": 600},
            "too_many_reveals": {"seconds": 3600},
        },
    ),
    503: ("Unavailable", {"unavailable": {}, "search_unavailable": {}}),
}
# The fields that the examples of `invalid` and `unprocessable` complain about.
FIELDS: dict[str, tuple[tuple[str, str, dict[str, Any]], ...]] = {
    "invalid": (
        ("windows[0].start", "wrong_format", {"needed": "a time HH:MM"}),
        ("slots[0].quantity", "out_of_range", {"needed": "`int` >= 1"}),
    ),
    "unprocessable": (
        ("service_type", "unknown_reference", {"what": "service type", "value": "time_travel"}),
    ),
}

_SLUG = {"pattern": r"^[a-z0-9_-]{1,64}$"}
# What the parameters mean whose handlers do not say, and limits that only the search knows.
PARAMETERS: dict[str, dict[str, Any]] = {
    "kind": {"description": "Only this kind; repeat it for several where a list is taken."},
    "status": {"description": "Only in this state."},
    "service_type": {
        "description": "Only of this service type; repeat it for several where a list is taken.",
        "items": _SLUG,
    },
    "priority": {"description": "Only of this priority class."},
    "within": {"description": "Only in this place and everything below it."},
    "parent": {"description": "Only directly below this place."},
    "slug": {"description": "Only the place with this slug."},
    "partner": {"description": "Only of this partner."},
    "include": {
        "description": "`excluded` adds who was left out, why, and what would mend it; `bundles`,"
        " in a preview, who can fill all roles together. Repeat it for both."
    },
    "tag": {"description": "Only with one of these features.", "items": _SLUG},
    "community": {"description": "Only in these communities, by slug.", "items": _SLUG},
    "weekday": {
        "description": "Only on these ISO weekdays, 1 is Monday.",
        "items": {"minimum": 1, "maximum": 7},
    },
    "price_max": {"description": "At most so many fen.", "minimum": 0, "maximum": 10**12},
    "capacity_min": {
        "description": "For at least so many people.",
        "minimum": 0,
        "maximum": 1_000_000,
    },
    "lat": {"description": "Latitude of the centre, WGS-84; together with `lon`."},
    "lon": {"description": "Longitude of the centre, WGS-84; together with `lat`."},
    "radius_m": {
        "description": "Only within so many metres of the centre.",
        "minimum": 0,
        "maximum": 1_000_000,
    },
    "remember": {"description": "`false` keeps this question out of recent and popular ones."},
    "unread": {"description": "Only what has not been marked read."},
    "saved_search_id": {"description": "Id of the saved search."},
    "notice_id": {"description": "Id of the notice."},
    "near_me": {
        "description": "Only within a walk of `lat` and `lon`, the nearest first; `walk_minutes`"
        " says how long a walk."
    },
    "walk_minutes": {
        "description": "So many minutes on foot from `lat` and `lon`: 15 are a kilometre."
    },
    "open_at": {
        "description": "Only what is open and not booked out at this time: `now`, or RFC 3339.",
    },
    "credential": {
        "description": "Only with a verified licence of this kind that is valid at `open_at`, or"
        " now; `excluded` says who has none.",
        "items": _SLUG,
    },
    "sort": {"description": "The order; `distance` needs `lat` and `lon`."},
    "facet": {"description": "Count what was found by these; repeat it for several."},
    "match": {"description": "`all` wants every word, `any` ranks by how many were found."},
    "highlight": {"description": "Mark the words found in the texts."},
    "page": {"description": "The page, from 1."},
    "page_size": {"description": "Items on a page; 0 asks for the totals alone."},
    "cursor": {"pattern": "^[A-Za-z0-9_-]{22}$"},
    "place": {"description": "Only of this place and everything below it."},
    "need": {"description": "Of this need alone."},
    "offering": {"description": "Id of the offering."},
    "plan": {"description": "Only of this plan."},
    "owner": {"description": "Only what this place owns: a community's own enterprises."},
    "skill": {"description": "Only what grants this skill."},
    "training_id": {"description": "Id of the training."},
    "docking_id": {"description": "Id of the line of the register."},
    "completion_id": {"description": "Id of the completion."},
    "plan_id": {"description": "Id of the plan."},
    "proposal_id": {"description": "Id of the proposal."},
    "place_id": {"description": "Id of the place."},
    "account_id": {"description": "Id of the account."},
    "role_id": {"description": "Id of the role."},
    "invitation_id": {"description": "Id of the invitation."},
    "key_id": {"description": "Id of the service key."},
    "partner_id": {"description": "Id of the partner."},
    "offering_id": {"description": "Id of the offering."},
    "credential_id": {"description": "Id of the credential, as its holder's record shows it."},
    "need_id": {"description": "Id of the need."},
    "booking_id": {"description": "Id of the booking."},
    "calendar_id": {"description": "Id of the calendar."},
    "token": {"description": "The secret of the calendar's address, with `.ics` after it."},
    "agreement_id": {"description": "Id of the agreement."},
    "enrolment_id": {"description": "Id of the enrolment."},
    "hours_id": {"description": "Id of the recorded hours."},
    "revenue_id": {"description": "Id of the statement."},
    "milestone": {"description": "Name of the milestone in the contract."},
    "task_id": {"description": "Id of the task."},
    "occurrence_id": {"description": "Id of the occurrence."},
    "attendance_id": {"description": "Id of the row of attendance."},
    "digest": {"description": "`snapshot` of an answer that ranks offerings."},
    "group_id": {"description": "Id of the group, which is that of the partner."},
    "series_id": {"description": "Id of the series."},
    "step": {"description": "What happens to the membership."},
    "code": {"description": "A problem code."},
    "transition": {"description": "The step to take."},
}
