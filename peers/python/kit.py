"""Runs the cases of the test kit: exchanges, records and inputs.

Each function returns the fields of a case with the outputs that come out here
in the place of those that are stated.
"""

from unittest import mock

from countersign import (
    CLIENT, RECORDS, SERVER, BadRecord, ClientNotAuthentic, Closed, Denied,
    Incompatible, Key, Malformed, ServerNotAuthentic, Session, Stream,
    Truncated, client_authenticate, client_proof, make_f1, make_f2_untagged,
    prologue, server_authenticate, session_secret)

MODES = ("0", "1")


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
    session, expect = None, "accepted"
    try:
        with mock.patch("secrets.token_bytes",
                        lambda _: given.octets("draw")):
            session = _authenticate(given, sock)
    except ClientNotAuthentic as error:
        expect = error.outcome
    except Incompatible as error:
        expect = {"protocol": "foreign protocol", "version": "other version",
                  "role": "wrong role", "mode": "wrong mode"}[error.what]
    except (Malformed, Closed, Denied, ServerNotAuthentic) as error:
        expect = {Malformed: "malformed", Closed: "closed", Denied: "denied",
                  ServerNotAuthentic: "server not authentic"}[type(error)]
    return _with(
        fields, expect=expect, sends=sock.sent.hex(),
        left=str(len(sock.unread)),
        matched=session and ("second" if session.second else "first"),
        exported=session and session.export(b"kit", b"", 32).hex())


def _authenticate(given, sock):
    key = given.key()
    agreed = (given.octets("service"), given.octets("binding"),
              int(given.texts["mode"]))
    if given.role == "client":
        return client_authenticate(sock, key, *agreed)
    asked = []

    def look_up(key_id):
        asked.append(key_id)
        return key if key_id == key.key_id else None

    try:
        return server_authenticate(sock, look_up, *agreed)
    except ClientNotAuthentic as error:
        error.outcome = ("proof rejected" if asked == [key.key_id]
                         else "unknown key id")
        raise


def records(fields):
    given = _Given(fields)
    key = given.key()
    agreed = prologue(given.octets("service"), b"")
    f1 = make_f1(RECORDS, given.octets("server-draw"))
    f2 = make_f2_untagged(RECORDS, key.key_id, given.octets("client-draw"))
    f2 += client_proof(key, agreed, f1, f2)
    session = Session(session_secret(key, agreed, f1, f2), key.key_id, RECORDS)
    is_server = given.role == "server"
    stream = Stream(Script(given.octets("receives")), session,
                    SERVER if is_server else CLIENT)
    delivered, expect = b"", "close"
    try:
        while True:
            data = stream.read()
            if not data:
                break
            delivered += data
    except Truncated:
        expect = "truncated"
    except BadRecord as error:
        expect = str(error).partition(":")[0]
    state = session.record_keys()[0 if is_server else 1]
    return _with(fields, expect=expect, delivers=delivered.hex(),
                 state=state.hex())


def one_input(fields):
    given = _Given(fields)
    length = int(given.texts.get("length", 0))
    value = given.optional("value")
    some = Key(bytes(range(16)))
    session = Session(bytes(32), b"", 0)
    attempt = {
        "secret": lambda: Key(value),
        "key id": lambda: Key(bytes(range(16)), value),
        "child id": lambda: some.child_secret(value),
        "service": lambda: prologue(value, b""),
        "export label": lambda: session.export(value, b"", 32),
        "export context": lambda: session.export(b"a", bytes(length), 32),
        "export output": lambda: session.export(b"a", b"", length),
    }[given.texts["input"]]
    try:
        attempt()
    except ValueError:
        return _with(fields, expect="refused")
    return _with(fields, expect="taken")
