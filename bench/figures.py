"""What one run has measured: the figures, and the names that they go by."""

import statistics
from dataclasses import dataclass, field
from typing import NamedTuple

CEILING = "Bottle on Waitress, constant answers"
RIVALS = {
    "FastAPI": "FastAPI + SQLAlchemy + SQLite",
    "Flask": "Flask + gunicorn + Peewee",
}
NAMES = {
    "GET": "GET one",
    "list": "list of 20",
    "create": "create",
    "upsert": "upsert",
    "PATCH": "PATCH",
}


class Transfer(NamedTuple):
    """An import or export by command line: contacts, seconds, megabytes at most."""

    what: str
    size: int
    seconds: float
    peak: float

    @property
    def rate(self) -> float:
        return self.size / self.seconds


class Times(NamedTuple):
    """Milliseconds of single requests."""

    best: float
    median: float
    p99: float
    worst: float

    @classmethod
    def of(cls, times: list) -> "Times":
        ordered = sorted(times)
        p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
        return cls(ordered[0], statistics.median(ordered), p99, ordered[-1])


@dataclass
class Results:
    """All figures of one run. `load` goes by (label, operation, connections), `pages`
    by (size, page size, depth); the rest by name."""

    machine: list
    size: int  # of the largest database
    how: str = ""
    load: dict = field(default_factory=dict)
    weight: dict = field(default_factory=dict)
    transfers: list = field(default_factory=list)
    pages: dict = field(default_factory=dict)
    searches: dict = field(default_factory=dict)
    beside: dict = field(default_factory=dict)
    visitors: dict = field(default_factory=dict)
    slow_disk: dict = field(default_factory=dict)
    skipped: list = field(default_factory=list)

    def rate(self, label: str, operation: str, connections: int = 16) -> float:
        """Requests/s, 0 where nothing was measured."""
        drive = self.load.get((label, operation, connections))
        return drive.rate if drive else 0.0

    def ratios(self, label: str, other: str) -> dict:
        """How many times the other's rate, by operation, where both were measured."""
        return {
            name: self.rate(label, operation) / self.rate(other, operation)
            for operation, name in NAMES.items()
            if self.rate(label, operation) and self.rate(other, operation)
        }

    def ours(self) -> list:
        """contactapi's labels, the smallest database first."""
        return [label for label in self.weight if label.startswith("contactapi")]

    def smallest(self) -> str:
        return next(iter(self.ours()), "")

    def largest(self) -> str:
        return next(reversed(self.ours()), "")

    def connections(self) -> list:
        return sorted({connections for _, _, connections in self.load})
