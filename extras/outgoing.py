"""A POST to a server of somebody else's: bounded in time and bytes, redirects not
followed, to an address that was looked at first (CONTRACT section 9)."""

import functools
import io
import ipaddress
import math
import re
import socket
import time
from typing import Any, NamedTuple, Optional
from urllib.parse import urlsplit

from contactapi import DEFAULT_PORT, VERSION

SECONDS = 15  # for all of it
ENOUGH = 65_536  # bytes of an answer


class Unanswered(Exception):
    """Nobody answered; it says why, in our words. `sent`: whether somebody may have
    heard all the same."""

    def __init__(self, why: str, sent: bool):
        super().__init__(why)
        self.sent = sent


class Said(NamedTuple):
    status: int
    text: str  # how the answer begins; nothing from an address that is not public
    retry_after: str
    body: Optional[bytes] = None  # the same, from any; None where it broke off

    def pause(self, now: float) -> Optional[int]:
        """Seconds until it may be asked again (RFC 9110, Retry-After); None without."""
        if re.fullmatch("[0-9]{1,9}", self.retry_after):
            return int(self.retry_after)
        from email.utils import parsedate_to_datetime  # http.client has it in hand

        try:
            moment = parsedate_to_datetime(self.retry_after).timestamp()
        except (ValueError, TypeError, OverflowError):
            return None
        return max(1, math.ceil(moment - now))


# -- addresses


# Of IPv6 only this part is given to the public, and of it these are not.
PUBLIC_6 = ipaddress.ip_network("2000::/3")
SPECIAL = tuple(
    map(
        ipaddress.ip_network,
        (
            *("192.0.0.0/24", "192.88.99.0/24"),  # protocols, 6to4's relays
            *("2001::/23", "2001:db8::/32", "3fff::/20"),  # protocols, documentation
        ),
    )
)
NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(ip: Any) -> bool:
    """Whether it is anybody's to reach: not loopback, private, link-local, reserved or
    multicast, nor an IPv6 spelling of an IPv4 address that is."""
    inner = inner_ipv4(ip)
    if inner is not None:
        return is_public(inner)
    special = any(ip in network for network in SPECIAL if network.version == ip.version)
    if special or not ip.is_global or ip.is_multicast or ip.is_reserved:
        return False
    return ip.version == 4 or ip in PUBLIC_6


def inner_ipv4(ip: Any) -> Any:
    """The IPv4 address to which a mapped, a 6to4 or a NAT64 one leads."""
    if ip.version == 4:
        return None
    if ip in NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour


def is_evidently_private(host: str) -> bool:
    """What needs no look-up to be told: `localhost`, and any spelling of an address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        found = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except OSError:  # a name: looked up when something is sent
        return False
    return not all(is_public(ip) for ip in map(address_of, found))


def address_of(found: tuple) -> Any:
    return ipaddress.ip_address(found[4][0].partition("%")[0])


def addresses(host: str, port: int, anywhere: bool) -> list:
    """(family, socket address, whether it is public) of those that may be reached,
    looked up once."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unanswered("its name is not known", sent=False) from None
    made = [(one[0], one[4], is_public(address_of(one))) for one in found]
    allowed = [one for one in made if anywhere or one[2]]
    if not allowed:
        raise Unanswered("its address is not public", sent=False)
    return allowed


def host_of(url: str) -> str:
    """Of one that `web_url` has made."""
    return urlsplit(url).hostname or ""


# -- one POST


def post(
    url: str,
    body: bytes,
    headers: dict,
    anywhere: bool = False,
    seconds: Optional[float] = None,
) -> Said:
    """What was said within so many seconds, else SECONDS; Unanswered where nothing was.
    `anywhere`: to any address."""
    import http.client  # with ssl some 4 MB: when the first is sent, not before

    seconds = seconds or SECONDS
    ends, parts = time.monotonic() + seconds, urlsplit(url)
    host, port = host_of(url), parts.port or int(DEFAULT_PORT[parts.scheme])
    sent = False
    try:
        sock, public = connect(addresses(host, port, anywhere), ends)
        with sock:
            line = secured(sock, host, ends) if parts.scheme == "https" else sock
            with line:
                line.settimeout(remaining(ends))
                sent = True
                line.sendall(request(parts, host, body, headers))
                timed = Timed(line, ends)
                answer = http.client.HTTPResponse(timed, method="POST")
                answer.begin()
                if timed.ended:  # within the head, which http.client lets pass
                    raise http.client.RemoteDisconnected
                began = beginning(answer)
    except TimeoutError:
        raise Unanswered(f"no answer within {seconds:.3g} seconds", sent) from None
    except (OSError, http.client.HTTPException) as err:
        raise Unanswered(reason(err), sent) from None
    text = (began or b"").decode("utf-8", "replace") if public else ""
    return Said(answer.status, text, answer.getheader("Retry-After", ""), began)


def reason(err: Exception) -> str:
    if type(err).__name__ == "SSLCertVerificationError":
        return f"its certificate is not good: {err.verify_message}"
    return f"it cannot be reached: {getattr(err, 'strerror', None) or 'no answer'}"


def remaining(ends: float) -> float:
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def connect(allowed: list, ends: float) -> tuple:
    """(a socket to the first that lets us, whether its address is public). One that
    says nothing leaves the others their share of the time."""
    failure, left = OSError(), len(allowed)
    for family, address, public in allowed:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(remaining(ends) / left)
            sock.connect(address)
            return sock, public
        except OSError as err:
            sock.close()
            failure, left = err, left - 1
    raise failure


@functools.cache
def tls() -> Any:
    import ssl

    context = ssl.create_default_context()
    context.hostname_checks_common_name = False  # RFC 9525: only the names it is for
    return context


def secured(sock: socket.socket, host: str, ends: float) -> socket.socket:
    """TLS on it, the certificate being good for the host's name."""
    context = tls()
    sock.settimeout(remaining(ends))
    return context.wrap_socket(sock, server_hostname=host)


def request(parts: Any, host: str, body: bytes, headers: dict) -> bytes:
    query = f"?{parts.query}" if parts.query else ""
    named = f"[{host}]" if ":" in host else host
    named += f":{parts.port}" if parts.port else ""
    fields = {
        "Host": named,
        "User-Agent": f"contactapi/{VERSION}",
        "Content-Type": "application/json",
        "Content-Length": len(body),
        "Accept-Encoding": "identity",
        "Connection": "close",
        **headers,
    }
    lines = [f"POST {parts.path or '/'}{query} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def beginning(answer: Any) -> Optional[bytes]:
    """Of its body; one that breaks off or never ends has said its status."""
    try:
        return answer.read(ENOUGH)
    except Exception:
        return None


class Timed(io.RawIOBase):
    """What a socket has to read, until a moment: one byte every 14 seconds is no way to
    stay for ever."""

    def __init__(self, sock: socket.socket, ends: float):
        super().__init__()
        self.sock, self.ends, self.ended = sock, ends, False

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> Optional[int]:
        self.sock.settimeout(remaining(self.ends))
        size = self.sock.recv_into(room)
        self.ended = not size
        return size
