"""Forms on the wire: enormous ones and slow ones."""

from processes import make_key

BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
PART = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="message"\r\n\r\n'
END = f"\r\n--{BOUNDARY}--\r\n"


def head(key, framing):
    return (
        f"POST /f/{key} HTTP/1.1\r\nHost: x\r\nOrigin: https://example.com\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n{framing}\r\n\r\n"
    ).encode()


def form_key(server):
    return make_key(server.env, "--type", "publishable", "--domain", "example.com")


def test_a_hundred_megabytes_are_refused_before_they_are_taken(serve):
    server = serve()
    key = form_key(server)
    with server.wire() as wire:
        wire.send(head(key, "Content-Length: 100000000") + PART.encode())
        assert wire.read().status == 413
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    with server.wire() as wire:
        wire.send(head(key, "Transfer-Encoding: chunked") + chunk * 2)
        assert wire.read().status == 413
    assert server.ask("GET", "/v1/submissions").json["total"] == 0


def test_without_a_host_of_its_own_a_form_leads_to_the_address_that_it_was_sent_to(
    serve,
):
    server = serve()
    body = (PART + "hello" + END).encode()
    for host in ("", "Host: a b\r\n"):
        request = head(form_key(server), f"{host}Content-Length: {len(body)}")
        with server.wire() as wire:
            wire.send(request.replace(b"Host: x\r\n", b"") + body)
            answer = wire.read()
        assert answer.json["next"] == f"http://127.0.0.1:{server.port}/f/thanks"


def test_a_form_that_trickles_holds_up_nobody_and_is_kept_when_it_is_whole(serve):
    server = serve()
    key, body = form_key(server), (PART + "slowly" + END).encode()
    request = head(key, f"Content-Length: {len(body)}") + body
    wires = [server.wire() for _ in range(30)]
    for start in range(0, len(request), 7):
        wires[0].send(request[start : start + 7])
        assert server.ask("GET", "/healthz").status == 200
    assert wires[0].read().status == 200
    for wire in wires[1:]:
        wire.send(request[:-1])
    with server.wire() as wire:
        wire.send(request.replace(b"slowly", b"nimbly"))
        assert wire.read().status == 200
    for wire in wires:
        wire.close()
    sent = server.ask("GET", "/v1/submissions").json["data"]
    assert [row["fields"]["message"] for row in sent] == ["nimbly", "slowly"]
