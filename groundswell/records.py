"""Every record on the wire, its version, and what Redis shows to the pages. Read stream/topology.py for where each travels.

All are JSON. `v` is the version of a record: a reader refuses one it does not know by name (`UnknownVersion`), and ignores
fields it does not know. Golden copies in tests/contract/ pin each format. Times are epoch milliseconds, UTC, unless a name says otherwise;
spans count code points of `Document.words`. One long file, so that every format is found in one place.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

MAX_TEXT_BYTES = 65_536
MAX_URL_CHARS = 2_048
MAX_DOCUMENTS = 500  # in one message
NEGATIVE, NEUTRAL, POSITIVE = "negative", "neutral", "positive"

Share = Annotated[float, Meta(ge=0, le=1)]
PositiveRate = Annotated[float, Meta(gt=0, le=1_000)]


class InboundDocument(Struct, kw_only=True, omit_defaults=True):
    """One text as pushed. Only `text` is required; `published_at` is ISO 8601 with a zone, or epoch milliseconds. `engagement`,
    `parent_id` and `retracted` travel on to the documents topic and change no count; the language is read from the text,
    whatever `lang` says."""

    text: str
    id: str | None = None
    title: str | None = None
    url: str | None = None
    source: str | None = None
    author: str | None = None
    published_at: str | int | float | None = None
    lang: str | None = None
    symbols: list[str] | None = None
    engagement: dict[str, float] | None = None
    parent_id: str | None = None
    retracted: bool = False
    feed: Literal["news", "comments"] | None = None  # else the topic's: a mixed history keeps one order in one topic


class Mention(Struct, frozen=True, array_like=True):
    """A subject found in a text, and where: a span of code points, or -1, -1 when the feed named it in `symbols`."""

    subject: str
    start: int = -1
    end: int = -1


class Source(Struct, frozen=True, array_like=True):
    """Coordinates of a document: topic partition, offset, place in the array."""

    partition: int
    offset: int
    index: int = 0


class Document(Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="v", tag=1):
    """One text, normalised, timed and linked: what ingest writes."""

    id: str
    text: str
    title: str = ""
    url: str = ""
    source: str = "unknown"
    author: str = ""  # keyed hash, never the name
    feed: Literal["news", "comments"] = "news"
    lang: Literal["zh", "en", "other"] = "en"
    published_at: int
    ingested_at: int
    mentions: list[Mention] = []
    engagement: dict[str, float] = {}
    parent_id: str = ""
    retracted: bool = False
    normaliser: int = 1

    @property
    def words(self) -> str:
        """What is read and linked: the title, then the text."""
        return f"{self.title}\n{self.text}" if self.title else self.text


class Row(Struct, frozen=True, array_like=True, gc=False):
    """What one document says about one subject: the likeliest polarity and the calibrated shares (neutral has the
    rest), so that another floor for `unsure` can be tried on old rows."""

    subject: str
    label: Literal["negative", "neutral", "positive"]
    negative: Share
    unsure: bool = False
    positive: Share = 0.0

    @property
    def sure_negative(self) -> bool:
        """What is evidence, where its document is an original. The fold (stream/windows.py) sorts rows by the same three words."""
        return self.label == NEGATIVE and not self.unsure


class Tagged(Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="v", tag=1):
    """A document with its story, topics and polarity: the public output of tag."""

    id: str
    src: Source
    story: str
    echo: bool = False
    title: str = ""
    text: str = ""
    url: str = ""
    source: str = "unknown"
    author: str = ""
    feed: Literal["news", "comments"] = "news"
    lang: Literal["zh", "en", "other"] = "en"
    published_at: int
    ingested_at: int
    tagged_at: int
    label: Literal["negative", "neutral", "positive"]
    negative: Share
    neutral: Share
    positive: Share
    unsure: bool = False
    topics: list[tuple[str, float]] = []
    mentions: list[Mention] = []
    deciding: tuple[int, int] | None = None
    words: list[tuple[int, int]] = []  # the loudest words of the deciding sentence
    companies: list[Row] = []  # what it says of each company it names
    truncated: bool = False
    model: str = ""


class ScoredDocument(Struct, kw_only=True, frozen=True, omit_defaults=True, gc=False):
    """A document's rows for one scored partition, with what a page shows of it. Tuples, and outside the garbage collector, which
    would walk a batch of thousands time and again: none of them can refer to itself."""

    index: int
    id: str
    story: str
    echo: bool = False
    published_at: int
    ingested_at: int
    source: str = "unknown"
    author: str = ""
    feed: Literal["news", "comments"] = "news"
    lang: Literal["zh", "en", "other"] = "en"
    title: str = ""
    url: str = ""
    excerpt: str = ""  # the deciding sentence
    about: tuple[str, ...] = ()  # all companies it names: a topic's surge may be one company's
    topics: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()


class ScoredBatch(Struct, kw_only=True, frozen=True, tag_field="v", tag=1):
    """All rows that one `documents` message sends to one scored partition, with the message's coordinates."""

    partition: int
    offset: int
    documents: list[ScoredDocument]
    model: str = ""


class DeadLetter(Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="v", tag=1):
    """An input refused: why, where it came from, and its bytes (base64, cut at 64 kB). The same coordinates again with
    `replayed_at`: it was sent to its topic once more."""

    reason: str
    stage: str
    message: str
    remedy: str = ""
    topic: str
    src: Source
    at: int
    payload: bytes = b""
    truncated: bool = False
    key: bytes | None = None  # of the message it came in, cut at 1,000 bytes
    replayed_at: int = 0

    @property
    def place(self) -> str:
        """Where it came from, and so its name: topic/partition/offset/index."""
        return f"{self.topic}/{self.src.partition}/{self.src.offset}/{self.src.index}"


# -- alerts: the Kafka value and the webhook body are the same bytes ---------------------------------------------------


class Observed(Struct, kw_only=True, frozen=True):
    """What was counted since the onset."""

    mentions: int  # texts about the subject, without copies
    negatives: int  # negative ones of these
    negative_share: float  # of the mentions, 0 to 1
    reach: int  # texts with their copies


class Expected(Struct, kw_only=True, frozen=True):
    """What was normal for the same span: mean and the 5 and 95 % quantiles of the negatives."""

    negatives: float  # the mean
    low: int  # 5 % quantile
    high: int  # 95 % quantile


class AlertRule(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What an alert was decided by: the detector's `negative-surge`, or a rule of a user's own (docs/rules.md)."""

    id: str  # negative-surge, single-document, or the name of a rule of your own
    version: int  # of the rule
    name: dict[str, str] = {}  # by language; only of a user's own rules
    bounded: bool = True  # the false-alarm budget holds for it: never for a user's own rule


class AlertSubject(Struct, kw_only=True, frozen=True):
    id: str  # XNAS:AAPL, topic:fraud, market:XSHG, ...
    kind: str  # company, index, currency, coin, topic, market or test
    names: dict[str, str]  # by language: en, zh


class AlertDocument(Struct, kw_only=True, frozen=True):
    """One of the documents behind an alert; `excerpt` is its deciding sentence."""

    id: str  # as its source gave it
    title: str  # empty where it has none
    excerpt: str  # its deciding sentence
    source: str  # who published it
    lang: str  # en, zh or other
    published_at: str  # RFC 3339, UTC
    url: str | None  # only to read: it is text from the world
    negative: float  # probability that it is negative, calibrated
    story: str  # the same for texts that tell the same
    echoes: int  # copies of it


class CauseCount(Struct, kw_only=True, frozen=True):
    """How many of the negative originals since the onset share one topic or one source."""

    id: str  # of the topic, or the name of the source
    negatives: int  # negative texts


class Acknowledged(Struct, kw_only=True, frozen=True):
    """Somebody has seen it. `assigned` names who looks into it."""

    by: str  # who
    at: str  # when, RFC 3339
    note: str = ""  # what others should know
    assigned: str = ""  # who looks into it


class Peak(Struct, kw_only=True, frozen=True):
    """The stretch of `window_s` seconds from `at` (RFC 3339) that held the most negatives since the onset."""

    at: str  # its beginning
    negatives: int  # in it
    window_s: int  # its length


class AlertData(Struct, kw_only=True, frozen=True):
    """The state of one episode at one transition. Times are RFC 3339, UTC."""

    episode_id: str  # ties the events of one surge together
    sequence: int  # grows with each event of an episode: drop a lower one that comes later
    state: Literal["firing", "recovering", "resolved"]  # after this transition
    previous_state: str  # before it
    test: bool  # a drill, a canary or a test: nothing is wrong
    severity: Literal["notice", "warning", "critical"]  # by effect, voices and how long it lasts
    rule: AlertRule  # what decided
    subject: AlertSubject  # whom it is about
    kind: Literal["count", "share", "both", "document"]  # what crossed the line; document: one text alone
    started_at: str  # the onset
    detected_at: str  # when it fired
    resolved_at: str | None  # when it ended; null until then
    window_s: int  # from the onset to this event
    observed: Observed  # what was counted
    expected: Expected  # what would have been normal
    effect: float  # how many times the expected
    effect_low: float  # 5 % quantile of what it may be
    effect_high: float  # 95 % quantile
    log10_e_value: float  # the evidence: log10 of an e-value
    log10_threshold: float  # the line that it crossed
    fires_without_largest_story: bool  # whether the rest alone would fire, too
    documents: list[AlertDocument]  # the best of the negative texts
    documents_total: int  # of how many
    truncated: bool  # whether there are more than are shown
    versions: dict[str, str]  # of what it was decided by: engine, rule, model, ...
    summary: dict[str, str]  # one sentence a language: en, zh
    links: dict[str, str]  # evidence: the page of the alert
    topics: list[CauseCount] = []  # what the negative texts are about, most first
    sources: list[CauseCount] = []  # who published them, most first
    acknowledged: Acknowledged | None = None  # who has seen it
    peak: Peak | None = None  # the busiest stretch
    fires_up_to: float = 0.0  # by how much all expectations could be multiplied, and it would still fire; 0: not known
    during: str = ""  # the scheduled event that it falls into: earnings
    trend: Literal["", "growing", "steady", "fading"] = ""  # the last quarter of an hour against the one before
    ended: Literal["", "calm", "new_level"] = ""  # how: it calmed down, or it lasted until it was the usual


AlertType = Literal[
    "alert.firing",
    "alert.updated",
    "alert.acknowledged",
    "alert.resolved",
    "endpoint.test",
    "endpoint.disabled",
    "endpoint.recovered",
    "system.watchdog",
    "system.drill_missed",
]


class AlertEvent(Struct, kw_only=True, frozen=True, tag_field="schema", tag=1):
    """What people and machines get about an episode. The id is the same on every retry and replay."""

    id: str  # gw_…; the same as the header webhook-id
    type: AlertType  # what happened
    timestamp: str  # when, RFC 3339, UTC
    data: AlertData  # the state of the episode


# -- control: compacted objects that people write ----------------------------------------------------------------------


class Secret(Struct, kw_only=True, frozen=True):
    """AES-256-GCM: key id, nonce and ciphertext in base64."""

    kid: str
    nonce: str
    ct: str


Severity = Literal["notice", "warning", "critical"]
Channel = Literal[
    "webhook", "feishu", "dingtalk", "wecom", "slack", "telegram", "discord", "teams", "email", "pagerduty", "alertmanager"
]  # fmt: skip


class QuietHours(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Not at night: from `start` to `end` (HH:MM, may pass midnight) in the time zone `zone` (an IANA name)."""

    zone: str
    start: str
    end: str
    unless: Severity = "critical"  # what is at least this severe is told all the same


class Endpoint(Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="kind", tag="endpoint"):
    """A place that alerts go to, what it wants to hear, and how."""

    id: str
    name: str
    url: Secret  # a mail address is mailto:
    secret: Secret  # whsec_, whsk_ (Ed25519), a chat robot's signing secret, a routing key; empty where there is none
    shown: str  # host and last four, safe to print
    created_at: int
    channel: Channel = "webhook"
    lang: Literal["en", "zh"] = "en"  # of the messages
    disabled: bool = False
    subjects: list[str] = []  # empty: all; a subject covers its pairs with topics
    topics: list[
        str
    ] = []  # empty: all; else alerts of these topics, or whose negative texts are mostly about one of them
    languages: list[str] = []  # empty: all; else alerts whose shown documents hold one in such a language
    severity: Severity = "warning"  # the least that is told
    quiet: QuietHours | None = None
    repeat_s: int = 0  # say it again while it fires and nobody acknowledged; 0: never
    escalates_after_s: int = 0  # hears only of what nobody acknowledged for so long; 0: hears at once
    drills: bool = False  # takes part in fire drills
    public_key: str = ""  # whpk_, of an Ed25519 secret
    old_secret: Secret | None = None  # signs as well, until `old_until`
    old_until: int = 0


class Acknowledgement(Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="kind", tag="ack"):
    """Somebody has seen this episode: no more repeats, no escalation."""

    id: str  # of the episode
    by: str
    at: int
    note: str = ""
    assigned: str = ""  # who looks into it


class Silence(Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="kind", tag="silence"):
    """Not now: no message about these until `until`; what still fires then is told then. All conditions must hold."""

    id: str
    subjects: list[str]  # empty: all
    until: int
    by: str
    at: int
    reason: str = ""
    matchers: list[str] = []  # alerts/matchers.py: "severity=warning", "topic in fraud,default", "subject!=XNAS:*"


class Errand(Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="kind", tag="errand"):
    """Something for deliver to do once: a test event, a replay, to try a disabled endpoint again."""

    id: str
    task: Literal["test", "replay", "enable"]
    endpoint: str
    by: str
    at: int
    since: int = 0  # replay: events written from this moment on
    all: bool = False  # replay: those that were delivered too


class RuleSet(Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="kind", tag="rules"):
    """Rules of a user's own from one file, which replace what was there of that file. Each is read by stream/rulebook/rules.py
    alone, so that a reader refuses whole what it does not know."""

    id: str  # rules_<name of the file>
    rules: list[dict[str, Any]]
    by: str
    at: int


class Watchlist(Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="kind", tag="watchlist"):
    """Subjects that somebody looks at first: all watchlists together get two fifths of the false-alarm budget."""

    id: str  # watchlist_<name>
    name: str
    subjects: list[str]  # ids and patterns: XNAS:AAPL, topic:*
    by: str
    at: int


class Sensitivity(Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="kind", tag="sensitivity"):
    """How much it takes to alert, of one subject, of all of a watchlist, or of one rule over all subjects. A number is false alarms a
    day, of all of the list together."""

    id: str  # sensitivity_<subject, watchlist:name or rule>
    value: Literal["fewer", "balanced", "more"] | PositiveRate
    subject: str = ""
    watchlist: str = ""
    rule: str = ""
    by: str
    at: int


Role = Literal["viewer", "analyst", "operator", "feeder"]


class Token(Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="kind", tag="token"):
    """Who may use the pages and the interface, and as what. The token itself is nowhere: this is its SHA-256 (groundswell/tokens.py)."""

    id: str
    name: str
    role: Role
    sha256: str
    by: str
    at: int
    until: int = 0  # it ends then; 0: only when it is removed


class Incarnation(Struct, kw_only=True, frozen=True, tag_field="kind", tag="incarnation"):
    """One set of topics. Made by `groundswell topology --create`; guards offsets kept in Redis against topics made anew."""

    id: str
    made_at: int


ControlObject = Endpoint | Acknowledgement | Silence | Errand | RuleSet | Watchlist | Sensitivity | Token | Incarnation


class DeliveryOutcome(Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="v", tag=1):
    """One attempt to hand one event to one endpoint, and how it ended."""

    event: str
    episode: str
    endpoint: str
    attempt: int
    outcome: str  # groundswell.decisions.Delivery
    status: int = 0
    reason: str = ""
    at: int
    latency_ms: int = 0
    type: str = ""  # of the event
    test: bool = False
    answer: str = ""  # the beginning of the answer, at most 1 kB, cleaned


class Feedback(Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="v", tag=1):
    """What a person said of an alert or of a label. What it is about is written beside it, since a word of feedback outlives the
    topics that hold the rest: the onset of the episode; source, title and deciding sentence of the text, and what the model said."""

    id: str
    at: int
    by: str
    kind: Literal["wrong_label", "not_a_surge", "right", "comment"]
    episode: str = ""
    subject: str = ""  # of the episode; of a label: the company, or empty for the text as a whole
    onset: int = 0
    text: str = ""  # of a comment
    label: Literal["", "negative", "neutral", "positive"] = ""  # what it should have been
    said: Literal["", "negative", "neutral", "positive"] = ""  # what the model said
    names: list[str] = []  # of the company, in the languages that are known
    document: str = ""
    source: str = ""
    published_at: int = 0
    lang: str = ""
    title: str = ""
    excerpt: str = ""


class AuditEntry(Struct, kw_only=True, frozen=True, omit_defaults=True, tag_field="v", tag=1):
    """Who did what through the pages or the interface, and how it ended: never a body, never a secret."""

    id: str
    at: int
    what: str  # groundswell.decisions.Audited
    action: str  # method and route: POST /api/v1/alerts/{episode}/ack
    status: int = 0  # of the answer; 0: none was given, or it was no request
    who: str = ""  # empty: nobody was asked who he is
    role: Role | Literal[""] = ""
    how: str = ""  # she was known: loopback, token, session, proxy, command line
    address: str = ""
    object: str = ""  # which episode, silence, endpoint
    reason: str = ""  # why it was refused
    times: int = 1  # of one minute: pushes, and refusals that repeat, are one record


# -- what Redis shows to the pages: written by aggregate, read by dashboard, watch and health -------------------------


class Bucket(Struct, frozen=True, array_like=True):
    """One minute of one subject: originals by polarity (unsure ones count as mentions only) and echoes."""

    negative: int = 0
    neutral: int = 0
    positive: int = 0
    unsure: int = 0
    echoes: int = 0

    @property
    def mentions(self) -> int:
        return self.negative + self.neutral + self.positive + self.unsure

    @property
    def reach(self) -> int:
        return self.mentions + self.echoes


class Expectation(Struct, frozen=True, array_like=True):
    """What is normal in one quarter of an hour: negatives a minute, and 5-95 % bands of sums over 1, 5 and 60 minutes."""

    mean: float
    low_1: int
    high_1: int
    low_5: int
    high_5: int
    low_60: int
    high_60: int


class LiveRow(Struct, kw_only=True, frozen=True):
    """One subject now, as the overview and `groundswell watch` show it."""

    subject: str
    kind: str
    names: dict[str, str]
    state: str  # groundswell.decisions.SubjectState
    at: int  # the minute the counts end at
    negatives_15: int
    expected_15: float
    low_15: int
    high_15: int
    mentions_15: int
    reach_15: int
    share: float
    evidence: float  # ln of the e-value over its threshold; 0 and above fires
    spark: list[int]  # negatives per five minutes, 36 of them, oldest first
    minutes: list[list[int]]  # [minute, negatives, neutral, positive] of the newest and of late-corrected minutes
    episode: str = ""
    learned_negatives: int = 0  # while it is `learning`: either of these two is enough, 20 or a day
    learned_s: int = 0


class DocumentCard(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A document as a list shows it."""

    id: str
    story: str
    published_at: int
    source: str
    label: str
    negative: float
    lang: str
    feed: str = "news"
    author: str = ""
    title: str = ""
    excerpt: str = ""
    url: str = ""
    unsure: bool = False
    echo: bool = False
    about: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()


class AlertView(Struct, kw_only=True, frozen=True):
    """An episode as the pages list it: its newest event, all transitions, and the frozen evidence of each."""

    episode: str
    subject: str
    state: str
    event: AlertEvent
    timeline: list[dict[str, Any]]
    evidence: dict[str, Any]
