"""Runs the cases of the test kit: exchanges, records and inputs.

Each function returns the fields of a case with the outputs that come out here
in the place of those that are stated.
"""

import os
import tempfile
from unittest import mock

from countersign import (
    CLIENT, ENCRYPT, HAS_CRYPTOGRAPHY, SERVER, AuthenticationError, Client,
    Key, KeyFileError, Opener, Server, Session, Stream, prologue)

MODES = (0, 1, 2) if HAS_CRYPTOGRAPHY else (0, 1)


class Script:
    """A socket whose peer sends these octets and then ends."""

    def __init__(self, octets):
        self.unread = octets
        self.sent = b""

    def recv(self, length):
        data, self.unread = self.unread[:length], self.unread[length:]
        return data

    def sendall(self, data):
        self.sent += data

    def gettimeout(self):
        return None

    def settimeout(self, _):
        pass

    def shutdown(self, _):
        pass


class _Given:
    """The inputs of a case."""

    def __init__(self, fields):
        self.texts = dict(fields)
        self.role = self.texts.get("role")

    def octets(self, field):
        return bytes.fromhex(self.texts[field])

    def optional(self, field):
        return self.octets(field) if field in self.texts else None

    def key(self):
        return Key(self.octets("secret"), self.octets("key-id"),
                   self.optional("accepted"))


def _with(fields, **outputs):
    """The fields, with these values in the places of their own.

    A field that did not come out is missing, which is a difference.
    """
    computed = []
    for field, value in fields:
        value = outputs.get(field, value)
        if value is not None:
            computed.append((field, value))
    return computed


def exchange(fields):
    given = _Given(fields)
    sock = Script(given.octets("receives"))
    draws = [given.octets(field) for field in ("draw", "second-draw")
             if field in given.texts]
    session, expect = None, "accepted"
    try:
        with mock.patch("countersign.draw", lambda: draws.pop(0)):
            session = _authenticate(given, sock)
    except AuthenticationError as error:
        expect = error.outcome
    return _with(
        fields, expect=expect, sends=sock.sent.hex(),
        left=str(len(sock.unread)),
        matched=session and ("second" if session.second else "first"),
        exported=session and session.export(b"kit", b"", 32).hex())


def _authenticate(given, sock):
    key = given.key()
    if given.role == "client":
        end = Client(key)
    else:
        end = Server(lambda key_id: key if key_id == key.key_id else None)
    # Any octets, where the interface takes one type of binding only.
    end._agreed = prologue(given.octets("service"), given.octets("binding"))
    return end.run(sock, int(given.texts["mode"]))


def records(fields):
    given = _Given(fields)
    mode = int(given.texts["mode"])
    role = SERVER if given.role == "server" else CLIENT
    session = Session(bytes(32), b"", mode,
                      shared=bytes(32) if mode == ENCRYPT else None)
    stream = Stream(Script(given.octets("receives")), session, role)
    stream._opener = Opener(given.octets("state"), mode,
                            int(given.texts["skip"]))
    delivered, expect = b"", "close"
    try:
        while True:
            data = stream.recv()
            if not data:
                break
            delivered += data
    except AuthenticationError as error:
        expect = error.outcome
    return _with(fields, expect=expect, delivers=delivered.hex())


def _load_key_file(length):
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "a.key")
        content = (b"0123456789abcdef" * (length // 16 + 1))[:length]
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
            file.write(content)
        Key.from_file(path)


def one_input(fields):
    given = _Given(fields)
    length = int(given.texts.get("length", 0))
    value = given.optional("value")
    some = Key(bytes(range(16)))
    session = Session(bytes(32), b"", 0)
    attempt = {
        "secret": lambda: Key(value),
        "key file": lambda: _load_key_file(length),
        "key id": lambda: Key(bytes(range(16)), value),
        "child id": lambda: some.child_secret(value),
        "service": lambda: prologue(value, b""),
        "export label": lambda: session.export(value, b"", 32),
        "export context": lambda: session.export(b"a", bytes(length), 32),
        "export output": lambda: session.export(b"a", b"", length),
    }[given.texts["input"]]
    try:
        attempt()
    except (KeyFileError, ValueError):
        return _with(fields, expect="refused")
    return _with(fields, expect="taken")
