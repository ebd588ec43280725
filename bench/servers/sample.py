"""The contacts that every server is seeded with; the same number, the same contact."""

import hashlib

TOKEN = "ck_secret_benchmark000000000000000000"
TOKEN_HASH = hashlib.sha256(TOKEN.encode()).hexdigest()

FIRST = ("Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Radia", "Ken")
LAST = ("Lovelace", "Hopper", "Turing", "Dijkstra", "Liskov", "Knuth", "Perlman", "Wu")
PLANS = ("free", "pro", "team", "enterprise")


def contact(number: int) -> dict:
    """About 200 bytes of JSON once a server has added its id and its two times."""
    return {
        "email": f"contact{number:07d}@example.org",
        "name": f"{FIRST[number // 4 % 8]} {LAST[number // 32 % 8]}",
        "plan": PLANS[number % 4],
        "visits": number % 100,
    }
