"""What an empty installation needs to be told: commands that carry its own addresses. templates/first.html shows them."""

from dataclasses import dataclass

from dashboard.parts import Parts
from groundswell.settings import Settings
from stream.topology import COMMENTS, NEWS

TEXTS = {
    "en": "Halvorn Motors recalls 212,000 vans over brake fires",
    "zh": "霍尔文汽车因制动起火召回二十一万辆货车",
}


@dataclass(frozen=True)
class Commands:
    """Lines to copy, and the addresses in them."""

    push: str
    push_file: str
    produce: str
    token: bool
    kafka: str
    secured: bool
    news: str
    comments: str
    subscribe: str
    demo: str
    demo_page: str


def commands(here: Parts, origin: str, language: str) -> Commands:
    """`origin` is what the reader's own browser asked, unless the installation says where its pages are."""
    settings = here.settings
    page = (settings.page_url or origin).rstrip("/")
    document = f'{{"text": "{TEXTS[language]}", "source": "wirepress.example"}}'
    token = '  -H "Authorization: Bearer $TOKEN" \\\n' if settings.access == "token" else ""
    news, port = here.topology.name(NEWS), _other_port(settings)
    return Commands(
        push=f"curl '{page}/api/v1/documents?feed=news' \\\n  -H 'Content-Type: application/json' \\\n{token}  -d '{document}'",
        push_file=f"groundswell push texts.jsonl --topic news{f' --kafka {settings.kafka}' if settings.kafka else ''}",
        produce=f"echo '{document}' | \\\n  kafka-console-producer.sh --bootstrap-server {settings.kafka} --topic {news}",
        token=bool(token),
        kafka=settings.kafka,
        secured=settings.kafka_security != "PLAINTEXT",
        news=news,
        comments=here.topology.name(COMMENTS),
        subscribe="groundswell endpoints add https://example.com/hooks/alerts --name desk",
        demo=f"GROUNDSWELL_STATE_DIR=$(mktemp -d) groundswell demo --port {port}",
        demo_page=f"http://127.0.0.1:{port}",
    )


def _other_port(settings: Settings) -> int:
    """The demo brings pages of its own, which cannot listen where these do."""
    return settings.port + 1 if 0 < settings.port < 65_535 else 8_081
