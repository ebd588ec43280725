"""How something is sent to somebody: what an extra's sender says, and hears, of it."""

from typing import NamedTuple, Optional

# How far a delivery has come; outside, one that is being sent is still waiting.
WAITING, SENDING, DELIVERED, FAILED = "waiting", "sending", "delivered", "failed"


class Reply(NamedTuple):
    """What the other side said, or what we have to say instead."""

    text: str
    status: Optional[int] = None


class NotTaken(Exception):
    """It certainly was not taken and may be sent again, after so many `seconds` where
    the other side named some. `blameless`: that says nothing against the endpoint."""

    def __init__(
        self, reply: Reply, seconds: Optional[int] = None, blameless: bool = False
    ):
        super().__init__(reply.text)
        self.reply, self.seconds, self.blameless = reply, seconds, blameless


class Refused(Exception):
    """It was not taken and never will be; or nobody knows, and it may not be sent
    twice."""

    def __init__(self, reply: Reply):
        super().__init__(reply.text)
        self.reply = reply


class NotNow(Exception):
    """Nothing was tried: the endpoint is to wait for so many seconds."""

    def __init__(self, seconds: float):
        super().__init__(seconds)
        self.seconds = seconds


class DeliveryRow(NamedTuple):
    id: int
    workspace: int
    sender: str
    target: str
    endpoint: str
    call: Optional[int]
    event: Optional[int]
    submission: Optional[int]
    state: str
    tries: int  # begun so far
    due_at: int
    created_at: int


class Sender:
    """How one kind of thing is sent; an extra puts it among the outbox's `senders`.
    `send` runs outside of any transaction, for as long as it takes, the others inside
    the one that notes the same."""

    # Seconds from each try to the next; after the last one it has failed.
    RETRIES = (1, 5, 30, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
    LEASE = 20  # seconds after which a try that nobody ended was interrupted
    EXPIRES = 30 * 86_400  # seconds after which it is not sent any more
    REPEATS = True  # whether one whose try was interrupted may be sent again

    def send(self, delivery: DeliveryRow) -> Optional[Reply]:
        """What the other side said when it took it; else NotTaken, Refused or NotNow.
        None where it is not wanted any more: then nothing was sent."""
        raise NotImplementedError

    def delivered(self, delivery: DeliveryRow, reply: Reply) -> None:
        pass

    def missed(self, delivery: DeliveryRow, reply: Reply) -> None:
        """It was not taken, this time."""

    def failed(self, delivery: DeliveryRow, reply: Reply) -> None:
        """It was refused, interrupted, tried in vain or too late."""
