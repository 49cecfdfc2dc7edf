"""Every way a request can be refused: one table of codes, in Chinese and English.

A refusal names the field, says what is wrong and how to mend it. `Refusal` is raised anywhere
below the HTTP layer; `api/errors.py` turns it into RFC 9457 problem+json. The table in
CONTRIBUTING is generated from `CODES`, and a test compares the two.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Code(Struct, frozen=True):
    """A problem code: its HTTP status, and its title and detail as format strings."""

    status: int
    title_en: str
    title_zh: str
    detail_en: str
    detail_zh: str


CODES: dict[str, Code] = {
    # The request as a whole
    "malformed": Code(
        400,
        "The body cannot be read",
        "无法读取请求内容",
        "Send one JSON object in UTF-8: {reason}.",
        "请发送一个 UTF-8 编码的 JSON 对象：{reason}。",
    ),
    "invalid": Code(
        400,
        "Some fields are wrong",
        "部分字段有误",
        "Mend the fields listed in errors and send the request again.",
        "请更正 errors 中列出的字段后重新提交。",
    ),
    "unauthenticated": Code(
        401,
        "Sign in first",
        "请先登录",
        "Send Authorization: Bearer with an access token from POST /v1/sessions.",
        "请在 Authorization: Bearer 中携带由 POST /v1/sessions 获得的访问令牌。",
    ),
    "wrong_login": Code(
        401,
        "Login or password is wrong",
        "账号或密码错误",
        "Check both and try again.",
        "请核对后重试。",
    ),
    "forbidden": Code(
        403,
        "Your roles do not allow this",
        "您的角色无权执行此操作",
        "It needs one of: {roles}.",
        "需要以下角色之一：{roles}。",
    ),
    "key_scope": Code(
        403,
        "The service key may not do this",
        "服务密钥无权执行此操作",
        "It needs the scope {scope}; what has none is for people only.",
        "需要权限范围 {scope}；没有范围的操作仅限个人账号。",
    ),
    "not_found": Code(
        404,
        "There is no such thing here",
        "未找到",
        "Check the id; what you may not see is not found either.",
        "请核对编号；无权查看的对象同样显示为未找到。",
    ),
    "no_search_server": Code(
        404,
        "No search server is open to phones",
        "没有可直接查询的搜索服务器",
        "Ask GET /v1/search instead; it finds the same.",
        "请改用 GET /v1/search，结果相同。",
    ),
    "method_not_allowed": Code(
        405,
        "This address does not take that method",
        "该地址不支持此方法",
        "See /docs for the methods it takes.",
        "可用的方法见 /docs。",
    ),
    "not_acceptable": Code(
        406,
        "No such representation",
        "没有该种表示",
        "This address answers {has}.",
        "该地址返回 {has}。",
    ),
    "conflict": Code(
        409,
        "Somebody was faster",
        "已被他人抢先",
        "Another request took it at the same moment. Read again and decide anew.",
        "另一请求同时占用了它。请重新读取后再决定。",
    ),
    "taken": Code(
        409,
        "That value is already taken",
        "该值已被占用",
        "Another record has {field} = {value}; choose a different one.",
        "已有记录的 {field} 为 {value}，请换一个。",
    ),
    "wrong_state": Code(
        409,
        "Not in this state",
        "当前状态不允许",
        "It is {has}; this needs {needed}.",
        "当前为 {has}，此操作需要 {needed}。",
    ),
    "own_work": Code(
        403,
        "Nobody judges their own work",
        "不得评判自己的工作",
        "You act for a partner of this agreement; somebody else has to do this.",
        "您代表本协议的合作伙伴，请由他人办理。",
    ),
    "not_approved": Code(
        409,
        "More than is approved",
        "超出核准金额",
        "The milestone is {state}; {left} may be paid now, in minor units.",
        "该节点状态为 {state}，目前可支付 {left}（最小货币单位）。",
    ),
    "in_use": Code(
        409,
        "Something still depends on it",
        "仍被使用",
        "Still there: {what}. Withdraw or move them first.",
        "尚有：{what}。请先撤回或迁移。",
    ),
    "booked_ahead": Code(
        409,
        "Bookings stand in the way",
        "仍有未结束的预订",
        "Booked: {times} UTC. Cancel or move them first.",
        "已预订时段（UTC）：{times}。请先取消或调整这些预订。",
    ),
    "over_capacity": Code(
        409,
        "More people than the whole holds",
        "容量超过上级空间",
        "It is {has} in a space that holds {most}: a room holds no more than its floor, a floor no"
        " more than its site.",
        "其容量为 {has}，而上级空间仅容纳 {most} 人：房间不得超过楼层，楼层不得超过场所。",
    ),
    "ledger_only": Code(
        409,
        "This capacity changes through its ledger only",
        "该容量只能通过台账变更",
        "The ledger says {needed}. Use POST …/capacity with how many more or fewer, and why.",
        "台账记录为 {needed}。请用 POST …/capacity 说明增减数量及原因。",
    ),
    "closed_on": Code(
        409,
        "It is not open at all of these times",
        "部分时段不开放",
        "Closed: {times} UTC. Leave these dates out or choose other times.",
        "不开放的时段（UTC）：{times}。请排除这些日期或另选时间。",
    ),
    "other_community": Code(
        409,
        "The group is of another community",
        "该团体不属于本社区",
        "Spaces are booked for resident groups of their own community.",
        "空间仅供本社区的居民团体预订。",
    ),
    "already_held": Code(
        409,
        "The account holds that role already",
        "该账号已拥有此角色",
        "It is {role} there at some time of these dates; revoke that role first.",
        "该账号在此期间已是 {role}，请先撤销原角色。",
    ),
    "already_booked": Code(
        409,
        "That time is taken",
        "该时段已被预订",
        "Booked: {times} UTC. Choose a time that does not overlap, or another offering.",
        "已预订时段（UTC）：{times}。请选择不重叠的时段或其他资源。",
    ),
    "full": Code(
        409,
        "Not enough places are left",
        "剩余名额不足",
        "{left} are left at that time. Book fewer places or another time.",
        "该时段剩余 {left} 个名额。请减少数量或另选时段。",
    ),
    "filled": Code(
        409,
        "Not so much is needed any more",
        "需求已满足",
        "Of {what} {left} are still missing. Ask for no more than that.",
        "{what} 尚缺 {left}。请勿超出此数。",
    ),
    "does_not_fit": Code(
        422,
        "It does not fit",
        "不符合条件",
        "Shut: {gates}. GET /v1/needs/{need}/matches?include=excluded says why, and what would do.",
        "未满足：{gates}。原因及改进办法见 GET /v1/needs/{need}/matches?include=excluded。",
    ),
    "closed_then": Code(
        409,
        "It is not open then",
        "该时段不开放",
        "Its availability does not cover the whole time; GET …/occurrences says when it is there.",
        "其开放时间未覆盖整个时段；开放时间见 GET …/occurrences。",
    ),
    "not_now": Code(
        409,
        "Not at this time",
        "不在可办理的时间内",
        "It is possible from {opens} to {closes} UTC.",
        "可办理时间（UTC）：{opens} 至 {closes}。",
    ),
    "too_few_hours": Code(
        409,
        "Not enough hours",
        "时间储蓄不足",
        "{left} minutes are left for that.",
        "可用于此的时间剩余 {left} 分钟。",
    ),
    "last_operator": Code(
        409,
        "Somebody has to be operator",
        "至少需要一名运维人员",
        "Nobody else is one for as long. Make another account operator first, then repeat this.",
        "没有其他账号任运维人员至同样的期限。请先将另一账号设为运维人员，再重试。",
    ),
    "lent_role": Code(
        409,
        "A lent role cannot be lent on",
        "受托角色不可再委托",
        "Ask whoever holds the role itself.",
        "请联系该角色的本人。",
    ),
    "invitation_over": Code(
        409,
        "This invitation is good for nothing any more",
        "邀请已失效",
        "It was used, has expired or was never made; ask for a new one.",
        "邀请已被使用、已过期或不存在，请索取新的邀请。",
    ),
    "stale": Code(
        412,
        "Somebody changed it in between",
        "数据已被他人修改",
        "Read it again and repeat the change with its new ETag.",
        "请重新读取并携带新的 ETag 再次修改。",
    ),
    "too_large": Code(
        413,
        "The body is too large",
        "请求内容过大",
        "At most {limit} bytes; split it into several requests.",
        "最多 {limit} 字节，请拆分为多次请求。",
    ),
    "query_too_long": Code(
        414,
        "The query of the address is too long",
        "查询字符串过长",
        "At most {limit} bytes; ask for less at once.",
        "最多 {limit} 字节，请减少一次查询的条件。",
    ),
    "unsupported_media_type": Code(
        415,
        "Wrong content type",
        "内容类型不支持",
        "Send Content-Type: {needed}.",
        "请使用 Content-Type: {needed}。",
    ),
    "unprocessable": Code(
        422,
        "The fields do not go together",
        "字段之间不一致",
        "Mend the fields listed in errors and send the request again.",
        "请更正 errors 中列出的字段后重新提交。",
    ),
    "key_reused": Code(
        422,
        "This Idempotency-Key belongs to another request",
        "该 Idempotency-Key 已用于另一请求",
        "Use a new key for a new payload.",
        "新的内容请使用新的键。",
    ),
    "if_match_required": Code(
        428,
        "Say which version you change",
        "请注明所修改的版本",
        "Send If-Match with the ETag that a GET of it answered.",
        "请在 If-Match 中携带读取时获得的 ETag。",
    ),
    "too_many_attempts": Code(
        429,
        "Too many failed sign-ins",
        "登录失败次数过多",
        "Try again in {seconds} seconds.",
        "请在 {seconds} 秒后重试。",
    ),
    "too_many_requests": Code(
        429,
        "Too many requests in a minute",
        "请求过于频繁",
        "Try again in {seconds} seconds; the RateLimit headers of every answer say what is left.",
        "请在 {seconds} 秒后重试；每个响应的 RateLimit 标头注明剩余次数。",
    ),
    "too_many_reveals": Code(
        429,
        "Too many contacts revealed in a day",
        "一日内查看联系方式过多",
        "Try again in {seconds} seconds.",
        "请在 {seconds} 秒后重试。",
    ),
    "internal": Code(
        500,
        "Something went wrong on our side",
        "服务器内部错误",
        "Nothing was saved. Quote the request_id when you report it.",
        "没有保存任何内容。反馈时请提供 request_id。",
    ),
    "search_unavailable": Code(
        503,
        "Search is not answering",
        "搜索暂不可用",
        "Lists and writes work; try the search again in a moment.",
        "列表与写入不受影响，请稍后再试搜索。",
    ),
    "unavailable": Code(
        503,
        "The database is not answering",
        "数据库暂不可用",
        "Nothing was saved; try again in a moment.",
        "没有保存任何内容，请稍后再试。",
    ),
    # One field
    "required": Code(400, "Missing", "缺少字段", "This field is required.", "该字段必填。"),
    "unknown_field": Code(
        400, "Unknown field", "未知字段", "There is no such field here.", "没有这个字段。"
    ),
    "wrong_type": Code(
        400,
        "Wrong type",
        "类型错误",
        "Expected {needed}, got {has}.",
        "应为 {needed}，实为 {has}。",
    ),
    "out_of_range": Code(
        400, "Out of range", "超出范围", "Expected {needed}.", "应满足：{needed}。"
    ),
    "wrong_format": Code(
        400, "Wrong format", "格式错误", "Expected {needed}.", "应满足：{needed}。"
    ),
    "bad_cursor": Code(
        400,
        "Not a cursor of this list",
        "游标无效",
        "Send the next value of the page before, unchanged.",
        "请原样使用上一页返回的 next。",
    ),
    "unknown_reference": Code(
        422,
        "No such {what}",
        "{what} 不存在",
        "There is no {what} {value} that you may use.",
        "没有可用的 {what}：{value}。",
    ),
    "invalid_polygon": Code(
        422,
        "Not a valid polygon",
        "多边形无效",
        "{reason}. Send a GeoJSON Polygon or MultiPolygon in WGS-84 whose rings do not cross.",
        "{reason}。请发送 WGS-84 坐标、环不自交的 GeoJSON Polygon 或 MultiPolygon。",
    ),
    "wrong_password": Code(
        422, "Wrong password", "密码错误", "This is not the present one.", "与当前密码不符。"
    ),
    "wrong_seat": Code(
        422,
        "Nobody is {role} there",
        "该处不设 {role}",
        "The place must be one of: {needed}.",
        "地点类型应为：{needed}。",
    ),
    "wrong_parent": Code(
        422,
        "A {kind} cannot lie there",
        "{kind} 不能位于该处",
        "Its parent must be one of: {needed}.",
        "上级应为：{needed}。",
    ),
    "consent_required": Code(
        422,
        "Nobody has agreed to it",
        "缺少同意记录",
        "On somebody's behalf, say who agreed to which words, when and how.",
        "代他人提出需求时，请注明由谁、就何内容、于何时、以何种方式同意。",
    ),
    "licence_required": Code(
        422,
        "A valid licence is missing",
        "缺少有效证照",
        "Have a {needed} that is valid today verified first.",
        "请先提交并核验在有效期内的 {needed}。",
    ),
    "too_many": Code(
        422,
        "Too many at once",
        "一次处理过多",
        "There are {count} {what}; at most {limit} at once. Choose fewer.",
        "共有 {count} 个 {what}，一次最多 {limit} 个。请减少数量。",
    ),
    "invalid_calendar": Code(
        422,
        "Not a calendar we can use",
        "日历无法使用",
        "{reason}",
        "{reason}",
    ),
}


class FieldError(Struct, frozen=True):
    """One field that is wrong. `values` fill the format strings of its code."""

    field: str
    code: str
    values: dict[str, Any] = {}


class Refusal(Exception):
    """A request we decline, with a code of `CODES`. Nothing of it has been saved."""

    def __init__(
        self,
        code: str,
        *fields: FieldError,
        headers: dict[str, str] | None = None,
        **values: Any,
    ):
        super().__init__(code)
        self.code = code
        self.fields = fields
        self.headers = headers or {}
        self.values = values


def not_found() -> Refusal:
    """The one answer for what is missing and for what the caller may not see."""
    return Refusal("not_found")


def refuse_field(field: str, code: str, **values: Any) -> Refusal:
    """A refusal for one wrong field, in the status of that field's code."""
    whole = "invalid" if CODES[code].status == 400 else "unprocessable"
    if CODES[code].status == 409:
        return Refusal(
            code, FieldError(field, code, {"field": field, **values}), field=field, **values
        )
    return Refusal(whole, FieldError(field, code, values))
