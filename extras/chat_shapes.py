"""What webhooks say to people: an event as Slack, Discord, ntfy and those that take
{"text"} (Mattermost, Rocket.Chat, Google Chat, Telegram) want it by their own
documentation. What a visitor wrote mentions and links nobody there (CONTRACT section
9)."""

import re
from collections.abc import Callable, Iterable, Iterator

from contactapi import dump, load
from extras.event_log import EventRow

BYTES, CHARACTERS = 4000, 2000  # of a message; Discord counts UTF-16's units
BREAK = "\u200b"  # a space without width: it keeps a mention or a link from being one


def chat_message(shape: str, event: EventRow) -> str:
    """The JSON that an endpoint of this shape is sent."""
    return dump(SHAPES[shape](*told(event)))


def topic_of(url: str) -> tuple:
    """(the server's root, the topic) of an ntfy URL, whose last segment it is."""
    path, mark, query = url.partition("?")
    root, _, name = path.rpartition("/")
    return f"{root}/{mark}{query}", name


# -- what there is to say


def told(event: EventRow) -> tuple:
    """(title, lines) as plain text."""
    data = load(event.data)
    if not event.type.startswith("submission.") or "fields" not in data:
        return event.type, list(named(data))
    title = "New message" if event.type == "submission.accepted" else event.type
    if data.get("subject"):
        title += f": {data['subject']}"
    lines = list(named(data["fields"]))
    if data.get("email") and "email" not in data["fields"]:
        lines.append(f"email: {data['email']}")
    return title, [*lines, f"from {data.get('page') or 'nowhere'}, {data['id']}"]


def named(fields: dict) -> Iterator[str]:
    for name, value in fields.items():
        yield f"{name}: {value if isinstance(value, str) else dump(value)}"


# -- nobody is mentioned, nothing is linked


def defused(text: str) -> str:
    return text.replace("@", f"@{BREAK}").replace("://", f"{BREAK}://")


def for_slack(char: str) -> str:
    return {"&": "&amp;", "<": "&lt;", ">": "&gt;"}.get(char, char)


def for_text(char: str) -> str:
    return f"<{BREAK}" if char == "<" else char


def for_discord(char: str) -> str:
    return f"\\{char}" if char in "\\`*_~|>#-+[]()<" else char


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def fitting(text: str, spell: Callable, characters: int = BYTES) -> str:
    """The text, defused and each character as it is spelled there, cut where it has
    too many bytes or characters."""
    spelled = ((one, len(one.encode())) for one in map(spell, defused(text)))
    return cut(spelled, BYTES, characters)


def cut(spelled: Iterable, most: int, characters: int) -> str:
    """No spelling is cut in two; an ellipsis (3 bytes) stands for the rest."""
    kept, size, count, fits = [], 0, 0, 0
    for one, length in spelled:
        size, count = size + length, count + units(one)
        if size > most or count > characters:
            return "".join(kept[:fits]) + "…"
        kept.append(one)
        if size <= most - 3 and count < characters:
            fits = len(kept)
    return "".join(kept)


# -- the shapes


def one_text(title: str, lines: list) -> str:
    return "\n".join([title, *lines])


def slack(title: str, lines: list) -> dict:
    """docs.slack.dev, "Formatting message text": & < > are all that is special."""
    return {"text": fitting(one_text(title, lines), for_slack)}


def text(title: str, lines: list) -> dict:
    return {"text": fitting(one_text(title, lines), for_text)}


def discord(title: str, lines: list) -> dict:
    """docs.discord.com, "Execute Webhook"; flag 4 is SUPPRESS_EMBEDS."""
    content = fitting(one_text(title, lines), for_discord, CHARACTERS)
    return {"content": content, "allowed_mentions": {"parse": []}, "flags": 4}


def ntfy(title: str, lines: list) -> dict:
    """docs.ntfy.sh, "Publish as JSON"; the topic is the endpoint's."""
    title = re.sub(r"\s+", " ", fitting(title[:100], str))
    room = BYTES - len(title.encode())
    spelled = ((one, len(one.encode())) for one in defused("\n".join(lines)))
    return {"title": title, "message": cut(spelled, room, BYTES)}


SHAPES = {"slack": slack, "text": text, "discord": discord, "ntfy": ntfy}
