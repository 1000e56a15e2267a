"""Every outcome has a name: metric label, log field and key of the page's text are this one word. A value never changes once released.

dashboard/words/{en,zh}.json says each to people; telemetry.tell() counts and logs it.
"""

from enum import StrEnum


class Stage(StrEnum):
    INGEST = "ingest"
    TAG = "tag"
    AGGREGATE = "aggregate"
    DELIVER = "deliver"
    DASHBOARD = "dashboard"


class Fate(StrEnum):
    """What became of an input; the columns of the books: read = applied + duplicate + late + dead_lettered + in_flight."""

    APPLIED = "applied"  # counted or handed on
    DUPLICATE = "duplicate"  # had been counted before
    LATE = "late"  # more than a day late
    DEAD_LETTERED = "dead_lettered"  # refused: a dead letter says why
    IN_FLIGHT = "in_flight"  # read, and not yet lasting


class Unwell(StrEnum):
    """What is wrong with the installation itself: `groundswell health` and the system page."""

    NO_PROCESS = "no_process"  # nobody has said for 10 s that it lives
    BAD_TOPIC = "bad_topic"  # missing, or with other partitions than it must have
    SLOW = "slow"  # a partition is at one batch for long
    NOT_BALANCED = "not_balanced"  # the books of a stage do not add up
    NOT_READ = "not_read"  # a stage has read less than the one before it wrote
    BROKER_AWAY = "broker_away"  # Kafka does not answer
    REDIS_AWAY = "redis_away"  # Redis does not answer
    REDIS_FULL = "redis_full"  # Redis is near its maxmemory, or at it


class SubjectState(StrEnum):
    """Where a subject stands."""

    LEARNING = "learning"  # too little history to say what is normal
    WARMING = "warming"  # windows are being rebuilt
    INACTIVE = "inactive"  # nothing unusual
    PENDING = "pending"  # evidence crossed the line, a floor holds it back
    FIRING = "firing"  # an episode is open
    RECOVERING = "recovering"  # an episode calms down
    RESOLVED = "resolved"  # an episode is over


class Detected(StrEnum):
    """Why the detector did or did not fire."""

    FIRED = "fired"
    BELOW_THRESHOLD = "below_threshold"
    HELD_LEARNING = "held_learning"
    HELD_WARMING = "held_warming"
    HELD_FEW_STORIES = "held_few_stories"
    HELD_FEW_VOICES = "held_few_voices"  # under 3 authors and under 2 publishers
    HELD_SMALL_EXCESS = "held_small_excess"
    HELD_ONE_STORY = "held_one_story"
    HELD_ONE_AUTHOR = "held_one_author"
    HELD_ONE_PUBLISHER = "held_one_publisher"
    HELD_ONE_COMPANY = "held_one_company"  # a topic's or the market's surge that one company makes
    IN_EPISODE = "in_episode"
    RESOLVED = "resolved"
    NEW_LEVEL = "new_level"
    REOPENED = "reopened"
    UPDATED = "updated"
    RULE_MATCHED = "rule_matched"  # a user's own rule holds
    RULE_RESOLVED = "rule_resolved"
    RULE_ENDED = "rule_ended"  # it was changed or removed while it held
    SINGLE_DOCUMENT = "single_document"  # one text of a severe topic from a trusted source
    HELD_SINGLE_BUDGET = "held_single_budget"  # the same, and the day's number of such alerts was used up
    CANARY = "canary"  # a canary document came through


class Audited(StrEnum):
    """What a record of the audit trail is about."""

    WRITE = "write"  # something was changed
    PUSH = "push"  # of documents: a minute's are one record
    SECRET = "secret"  # noqa: S105 - a new secret was shown, once
    EXPORT = "export"  # documents or feedback were taken out
    LOGIN = "login"  # somebody came in with a token
    LOGIN_REFUSED = "login_refused"  # no such token
    LOGOUT = "logout"  # somebody left
    REFUSED = "refused"  # nobody known, role too small, another site, too often


class Delivery(StrEnum):
    """What became of one event at one endpoint."""

    SENT = "sent"  # the receiver took it
    RETRY = "retry"  # it did not, and is asked again
    REFUSED = "refused"  # it will not take it: not asked again
    GIVEN_UP = "given_up"  # three days of tries are over
    SILENCED = "silenced"  # a silence holds; what is still true is told when it ends
    INHIBITED = "inhibited"  # a wider alert says it already
    QUIET_HOURS = "quiet_hours"  # it is night there, and this is not severe enough; told in the morning
    GROUPED = "grouped"  # goes out with others in the next message
    ACKNOWLEDGED = "acknowledged"  # somebody has seen it: not said again, not escalated
    NOT_YET = "not_yet"  # an escalation whose time has not come
    NOT_ROUTED = "not_routed"  # the endpoint wants other things, or did not exist yet
    UNCHANGED = "unchanged"  # it was told; or its beginning was not, so its end is not
    EXPIRED = "expired"  # too old to be told
    RATE_LIMITED = "rate_limited"  # it has had its share for now; the event waits
    DISABLED = "disabled"  # switched off, by people or by its failures
    SECRET_UNREADABLE = "secret_unreadable"  # noqa: S105 - sealed with a key that this process has not
