"""Load from wrk: one Lua script for each operation, one run, what wrk measured."""

import itertools
import json
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path

PATH = "/v1/contacts"

COMMON = """
local path, size, tag, token = "{path}", {size}, {tag}, "{token}"
local ids, count = {{}}, 0
for line in io.lines("{ids}") do ids[#ids + 1] = line end
math.randomseed(tag)
wrk.headers["Authorization"] = "Bearer " .. token
wrk.headers["Content-Type"] = "application/json"

local function id() return ids[math.random(#ids)] end
local function known() return math.random(0, size - 1) end
local function fresh() count = count + 1; return string.format("%d", tag + count) end

done = function(summary, latency)
  local errors = summary.errors
  local socket = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format(
    '\\n{{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, ' ..
    '"refused": %d, "broken": %d}}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, errors.status, socket))
end
"""

# Values change with every request: SQLite writes no page when nothing has changed.
REQUESTS = {
    "GET": 'return wrk.format("GET", path .. "/" .. id())',
    "list": 'return wrk.format("GET", path .. "?page=1&page_size=20")',
    "upsert": """
        local form = '{"email":"contact%07d@example.org","name":"Ada Lovelace",' ..
          '"visits":%s}'
        local body = string.format(form, known(), fresh())
        return wrk.format("POST", path, nil, body)""",
    "PATCH": """
        local body = '{"name":"Grace Hopper","visits":' .. fresh() .. '}'
        return wrk.format("PATCH", path .. "/" .. id(), nil, body)""",
    "create": """
        local form = '{"email":"new%s@example.org","name":"Ada Lovelace",' ..
          '"plan":"pro","visits":%s}'
        local number = fresh()
        local body = string.format(form, number, number)
        return wrk.format("POST", path, nil, body)""",
}
# Creates come last: until then every database keeps its size.
OPERATIONS = tuple(REQUESTS)
# What a page sends with a publishable key, as `create` but for that.
VISITS = {
    "post": 'wrk.headers["Origin"] = "https://example.com"' + REQUESTS["create"],
    "form": """
        wrk.headers["Origin"] = "https://example.com"
        wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
        local form = "email=new%s%%40example.org&name=Ada+Lovelace&plan=pro&visits=%s"
        local number = fresh()
        local body = string.format(form, number, number)
        return wrk.format("POST", "/f/" .. token, nil, body)""",
}
# One for each run, with room for a hundred million requests before the next.
TAGS = itertools.count(100_000_000, 100_000_000)


@dataclass
class Drive:
    """What one run measured: requests/s, milliseconds, answers that were no success
    and requests that got none."""

    rate: float
    p50: float
    p99: float
    refused: int
    broken: int


def lua(operation: str, ids: Path, size: int, token: str) -> str:
    """The script of one run; its tag makes its emails and values its own."""
    common = COMMON.format(path=PATH, ids=ids, size=size, token=token, tag=next(TAGS))
    request = {**REQUESTS, **VISITS}[operation]
    return f"{common}\nrequest = function()\n{request}\nend\n"


def drive(port: int, script: Path, connections: int, seconds: int) -> Drive:
    """Run wrk for so many seconds against a server on this machine. A request that has
    no answer after 2 s counts as broken; if none has one, every connection does."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    command += ["-s", str(script), f"http://127.0.0.1:{port}"]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=seconds + 30
        )
        seen = json.loads(answer.stdout.strip().splitlines()[-1])
    except (subprocess.SubprocessError, ValueError):
        seen = {"requests": 0}
    if not seen["requests"]:
        return Drive(0, 0, 0, 0, connections)
    rate = (seen["requests"] - seen["refused"]) / seen["seconds"]
    return Drive(rate, seen["p50"], seen["p99"], seen["refused"], seen["broken"])


def middle(drives: list) -> Drive:
    """The median of each figure over the rounds; of the errors, the sum."""
    return Drive(
        statistics.median(each.rate for each in drives),
        statistics.median(each.p50 for each in drives),
        statistics.median(each.p99 for each in drives),
        sum(each.refused for each in drives),
        sum(each.broken for each in drives),
    )
