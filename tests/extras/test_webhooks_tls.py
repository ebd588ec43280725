"""Webhooks over TLS: the certificate must be good for the host's name, wherever the
name leads."""

import datetime
import ipaddress
import socket
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from doubles import Receiver
from extras import outgoing

NOW = datetime.datetime.now(datetime.UTC)


def made(subject, names=(), by=None, days=1):
    """(certificate, its key); `by`: the pair that signs it, itself without one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    signer, signing_key = by or (None, key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(signer.subject if signer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(days=10))
        .not_valid_after(NOW + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(by is None, None), True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
    return builder.sign(signing_key, hashes.SHA256()), key


def in_file(path, *things):
    text = b""
    for thing in things:
        if isinstance(thing, x509.Certificate):
            text += thing.public_bytes(serialization.Encoding.PEM)
        else:
            form = serialization.PrivateFormat.PKCS8
            pem, none = serialization.Encoding.PEM, serialization.NoEncryption()
            text += thing.private_bytes(pem, form, none)
    path.write_bytes(text)
    return str(path)


@pytest.fixture
def authority(tmp_path, monkeypatch):
    """One that the system trusts."""
    pair = made("an authority")
    monkeypatch.setenv("SSL_CERT_FILE", in_file(tmp_path / "ca.pem", pair[0]))
    outgoing.tls.cache_clear()
    yield pair
    outgoing.tls.cache_clear()


@pytest.fixture
def secure(tmp_path, monkeypatch):
    """Makes a receiver with this certificate, at which every name leads."""
    receivers = []

    def make(pair):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(in_file(tmp_path / "server.pem", *pair))
        receiver = Receiver()
        receivers.append(receiver)
        plain, port = receiver.server.socket, receiver.server.server_port
        receiver.server.socket = context.wrap_socket(plain, server_side=True)
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        monkeypatch.setattr(outgoing, "is_public", lambda ip: True)
        return receiver, port

    yield make
    for receiver in receivers:
        receiver.close()


def test_a_certificate_for_the_hosts_name_is_good(authority, secure):
    names = [x509.DNSName("hooks.example.com")]
    receiver, port = secure(made("x", names, authority))
    url = f"https://hooks.example.com:{port}/in"
    assert outgoing.post(url, b"{}", {}).text == "thank you"
    ((path, headers, body),) = receiver.requests
    assert (path, headers["Host"], body) == (
        "/in",
        f"hooks.example.com:{port}",
        b"{}",
    )


def test_a_certificate_for_an_address_is_good_for_that(authority, secure):
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    receiver, port = secure(made("x", names, authority))
    assert outgoing.post(f"https://127.0.0.1:{port}/", b"{}", {}).status == 200


@pytest.mark.parametrize(
    "case", ["another name", "no authority", "out of date", "the address only"]
)
def test_no_other_certificate_is_good_and_nothing_is_sent(authority, secure, case):
    name = {
        "another name": x509.DNSName("example.com"),
        "the address only": x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    }.get(case, x509.DNSName("hooks.example.com"))
    by = made("nobody") if case == "no authority" else authority
    pair = made("hooks.example.com", [name], by, -1 if case == "out of date" else 1)
    receiver, port = secure(pair)
    with pytest.raises(outgoing.Unanswered, match="its certificate is not good"):
        outgoing.post(f"https://hooks.example.com:{port}/", b"{}", {})
    assert receiver.requests == []
