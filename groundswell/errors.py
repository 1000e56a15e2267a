"""The one error tree. Its first split is what the caller does next; decisions.py names the outcomes that are no errors.

GroundswellError  .reason = metric label and dead-letter key; .remedy = what to do next
+- Retryable      keep the input, wait, call again    BrokerAway, RedisAway, ClaimsLost, ModelAway, ModelUnhealthy
+- Refused        never will succeed: dead letter     NotJson, TextTooLong, FromTheFuture, ...
+- Misconfigured  stop at start-up, exit status 2     BadSetting, UnknownModel, BrokenModel, TopicsMissing
+- Fatal          stop now, start again from the last committed place    ProduceFailed, Fenced
"""

from collections.abc import Iterator
from typing import ClassVar


class GroundswellError(Exception):
    """Something has a name, a reason and a remedy."""

    reason: ClassVar[str] = "unnamed"
    remedy: str = ""

    def __init__(self, message: str = "", *, remedy: str = "") -> None:
        super().__init__(message or (self.__doc__ or "").strip())
        if remedy:
            self.remedy = remedy

    @property
    def line(self) -> str:
        """One line for a terminal or a log: what is wrong, then what to do."""
        return f"{self} {self.remedy}".strip()


class Retryable(GroundswellError):
    """Keep the input, wait, call again."""


class BrokerAway(Retryable):
    """The Kafka broker does not answer."""

    reason = "broker_away"
    remedy = "Check that it runs and that GROUNDSWELL_KAFKA names it, or leave both unset and run `groundswell up`."


class RedisAway(Retryable):
    """Redis does not answer."""

    reason = "redis_away"
    remedy = "Check that it runs and that GROUNDSWELL_REDIS names it, or leave both unset and run `groundswell up`."


class ClaimsLost(Retryable):
    """Redis has forgotten which documents were counted."""

    reason = "claims_lost"
    remedy = "Wait: they are read back from the tagged topic, and nothing is counted meanwhile."


class ModelAway(Retryable):
    """The model process ended or did not answer in time."""

    reason = "model_away"
    remedy = "It is restarted by itself; see the lines of stage=model in the log."


class ModelUnhealthy(Retryable):
    """The model answers what cannot be true, even of a plain sentence."""

    reason = "model_unhealthy"
    remedy = "Nothing is written meanwhile. It is restarted and checked; when that does not help, replace the model's folder."


class Refused(GroundswellError):
    """Never will succeed as it is: it becomes a dead letter with this reason."""


class NotUtf8(Refused):
    """The bytes are not UTF-8."""

    reason = "not_utf8"
    remedy = "Send UTF-8; convert GBK and others at the source."


class NotJson(Refused):
    """The message is not JSON."""

    reason = "not_json"
    remedy = "Send one JSON object, or an array of up to 500."


class WrongShape(Refused):
    """A field has the wrong type or is missing."""

    reason = "wrong_shape"
    remedy = "Compare with `groundswell schema inbound-document`."


class NestedTooDeep(Refused):
    """The JSON is nested too deep."""

    reason = "nested_too_deep"
    remedy = "A document is a flat object; drop what is nested."


class MessageTooLarge(Refused):
    """The message is larger than 1 MiB."""

    reason = "message_too_large"
    remedy = "Send fewer documents in one message."


class BodyTooSlow(Refused):
    """A request's body that does not come to its end."""

    reason = "body_too_slow"
    remedy = "Send the whole body within half a minute; an array of documents may go in several requests."


class TooManyDocuments(Refused):
    """The array holds more than 500 documents."""

    reason = "too_many_documents"
    remedy = "Send at most 500 documents in one message."


class EmptyArray(Refused):
    """The array is empty."""

    reason = "empty_array"
    remedy = "Send at least one document."


class NoText(Refused):
    """There is no text left after control characters, links and blanks are removed."""

    reason = "no_text"
    remedy = "Give the words of the document in `text`."


class TextTooLong(Refused):
    """The text is longer than 64 kB."""

    reason = "text_too_long"
    remedy = "Send at most 64 kB; cut or split it at the source."


class BadTime(Refused):
    """`published_at` is not a time with a zone."""

    reason = "bad_time"
    remedy = "Send ISO 8601 with a zone (2026-01-31T09:30:00+08:00) or epoch milliseconds."


class FromTheFuture(Refused):
    """`published_at` is more than 300 s ahead of the clock."""

    reason = "from_the_future"
    remedy = "Set the feeder's clock."


class TooOld(Refused):
    """`published_at` lies before 1990."""

    reason = "too_old"
    remedy = "Check the unit: epoch times are milliseconds."


class ModelCrash(Refused):
    """The model process died twice on this document."""

    reason = "model_crash"
    remedy = "Keep the document for a report; the others went on."


class Poison(Refused):
    """A stage fails on this record alone."""

    reason = "poison"
    remedy = "Report the error it names; once mended, `groundswell dead-letters replay --reason poison` sends it again."


class UnknownVersion(Refused):
    """A record of another version, or not one of ours."""

    reason = "unknown_version"
    remedy = "Upgrade the reading stage first; see docs/operations.md."


class NoSuchLetter(Refused):
    """There is no dead letter of this name."""

    reason = "no_such_letter"
    remedy = "`groundswell dead-letters list` names them."


class AddressRefused(Refused):
    """The endpoint's address is not allowed."""

    reason = "address_refused"
    remedy = "Use a public https address, or let the operator allow it: GROUNDSWELL_DELIVER_ALLOW=host:port."


class NoSuchEndpoint(Refused):
    """There is no endpoint of this id."""

    reason = "no_such_endpoint"
    remedy = "`groundswell endpoints list` shows the ids."


class NoSuchEpisode(Refused):
    """There is no such episode."""

    reason = "no_such_episode"
    remedy = "`groundswell alerts` and GET /api/v1/alerts list the newest."


class NoSuchDocument(Refused):
    """There is no such document."""

    reason = "no_such_document"
    remedy = "A label is judged where its text is shown: behind an alert, or among the newest of its subject."


class BrokenEvidence(Refused):
    """This is not the evidence that was signed."""

    reason = "broken_evidence"
    remedy = (
        "Ask for the file again; `groundswell evidence replay FILE` shows whether its decision still follows from it."
    )


class NoSuchSilence(Refused):
    """There is no silence of this id."""

    reason = "no_such_silence"
    remedy = "`groundswell silences list` shows the ids."


class NoAcknowledgement(Refused):
    """Nobody has acknowledged this episode."""

    reason = "no_acknowledgement"
    remedy = "Nothing to take back."


class BadRule(Refused):
    """A rule cannot be what it says. `key` names where it is wrong."""

    reason = "bad_rule"
    remedy = "docs/rules.md has the grammar and examples."

    def __init__(self, place: str, key: str, what: str, remedy: str) -> None:
        super().__init__(f"{place}, {key}: {what}", remedy=remedy)
        self.place, self.key = place, key


class NoSuchRule(Refused):
    """There is no rule or file of rules of this id."""

    reason = "no_such_rule"
    remedy = "`groundswell rules list` shows the ids."


class NoSuchSubject(Refused):
    """Nothing of this name is counted."""

    reason = "no_such_subject"
    remedy = "Write an id or a name: XNAS:AAPL, Apple, topic:fraud."


class TokenRefused(Refused):
    """There cannot be such a token."""

    reason = "token_refused"
    remedy = "Give another name, or take the old one away first: `groundswell tokens remove NAME`."


class NoSuchToken(Refused):
    """There is no token of this name."""

    reason = "no_such_token"
    remedy = "`groundswell tokens list` shows names and ids."


class TooManyEndpoints(Refused):
    """There are as many endpoints as deliver serves."""

    reason = "too_many_endpoints"
    remedy = "Remove one: `groundswell endpoints remove ID`."


class Misconfigured(GroundswellError):
    """Stop at start-up with exit status 2."""

    reason = "misconfigured"


class BadSetting(Misconfigured):
    """A setting is unknown or out of bounds."""

    reason = "bad_setting"
    remedy = "`groundswell settings` lists every setting with its bounds."


class UnknownModel(Misconfigured):
    """There is no model of this name."""

    reason = "unknown_model"
    remedy = "Use `bundled`, the path of a model's folder, or a hub id (org/name) that this machine holds."


class BrokenModel(Misconfigured):
    """The model's files do not fit together."""

    reason = "broken_model"
    remedy = "Restore the folder (git checkout models/bundled) or train it again with `groundswell train`."


class BrokenCatalogue(Misconfigured):
    """A catalogue file cannot be read."""

    reason = "broken_catalogue"
    remedy = "Mend the file named above; stream/names/catalogue/ shows the shape."


class UnknownPack(Misconfigured):
    """There is no domain pack of this name."""

    reason = "unknown_pack"
    remedy = "Name a shipped pack (`groundswell packs list`) or a folder with a pack.toml."


class BrokenPack(Misconfigured):
    """A domain pack cannot be used."""

    reason = "broken_pack"
    remedy = "Mend the entry named above, then run `groundswell packs check FOLDER`; docs/packs.md shows the shape."


class TopicsMissing(Misconfigured):
    """Topics are missing or have other partition counts."""

    reason = "topics_missing"
    remedy = "Run `groundswell topology --create`."


class PlainText(Misconfigured):
    """Documents and passwords would go to another machine unencrypted."""

    reason = "plain_text"
    remedy = "Where the network itself keeps others out, GROUNDSWELL_INSECURE=true allows it."


class NotTrusted(Misconfigured):
    """A server's certificate does not prove that it is the one we asked for."""

    reason = "not_trusted"
    remedy = "Use the name in its certificate, and name who signed it: GROUNDSWELL_KAFKA_CA, GROUNDSWELL_REDIS_CA."


class NotAllowed(Misconfigured):
    """Kafka or Redis refuses what this process wants to do."""

    reason = "not_allowed"
    remedy = "docs/operations.md lists what each process needs."


class UnfitRedis(Misconfigured):
    """This Redis could drop our data."""

    reason = "unfit_redis"
    remedy = "Set `maxmemory-policy noeviction` and use Redis 7.0 or later."


class NothingRuns(Misconfigured):
    """No broker is configured and no `groundswell up` runs on this machine."""

    reason = "nothing_runs"
    remedy = "Start `groundswell up` first, or set GROUNDSWELL_KAFKA and GROUNDSWELL_REDIS."


class NoSecretKey(Misconfigured):
    """There is no key to read endpoint secrets with."""

    reason = "no_secret_key"
    remedy = "Set GROUNDSWELL_SECRET_KEY to the key that `groundswell up` or `groundswell secret-key` made."


class Fatal(GroundswellError):
    """This process must stop now and start again from its last committed place."""


class ProduceFailed(Fatal):
    """The broker did not acknowledge what this process wrote."""

    reason = "produce_failed"
    remedy = "The process ends so that nothing is reordered; its supervisor starts it again."


class RecordTooLarge(ProduceFailed):
    """The broker takes no record of this size."""

    reason = "record_too_large"
    remedy = "Let the topic take 1 MiB (max.message.bytes). After the third time its input becomes a dead letter."


class Stuck(Fatal):
    """A partition has been at one batch for too long."""

    reason = "stuck"
    remedy = "The process ends so that another takes over; a record that does it three times becomes a dead letter."


class PoisonFlood(Fatal):
    """So many records in a row cannot be worked on that the stage is to blame, not they."""

    reason = "poison_flood"
    remedy = "Mend what the error names, then `groundswell dead-letters replay --reason poison`."


class Fenced(Fatal):
    """Another process owns this partition now."""

    reason = "fenced"
    remedy = "Nothing to do: the partition is dropped and reloaded."


def every(kind: type[GroundswellError]) -> Iterator[type[GroundswellError]]:
    """All kinds of an error that are known to this process."""
    for one in kind.__subclasses__():
        yield one
        yield from every(one)
