#!/usr/bin/env python3
"""An independent implementation of the countersign protocol, version 1.

Written from PROTOCOL.md alone, with nothing but the standard library, so that
it can judge the crate rather than echo it.  It is a module (``Key``,
``server_authenticate``, ``client_authenticate``, ``Sealer``, ``Opener``) and a
command:

    countersign.py vectors
    countersign.py check FILE
    countersign.py serve --key-file PATH [--key-id ID] [--service NAME]
                         [--listen HOST:PORT] [--connections N]
    countersign.py connect --connect HOST:PORT --key-file PATH [--key-id ID]
                           [--service NAME] [MESSAGE]

Python cannot wipe memory or compute without leaving copies behind: this is a
reference to test against, not a hardened implementation.
"""

import argparse
import hashlib
import hmac
import os
import secrets
import socket
import struct
import sys
import time
from itertools import zip_longest

NAME = b"CSIGN"
VERSION = b"1"
SERVER = b"S"
CLIENT = b"C"
ACCEPTED = b"A"
DENIED = b"D"

HANDSHAKE_ONLY = 0
RECORDS = 1

NONCE_LEN = 32
TAG_LEN = 32
F1_LEN = 40
F2_LEN = 73  # with an empty key id
F3_LEN = 33
F2_ID_LEN_AT = 8
MAX_KEY_ID = 64
MIN_SECRET = 16
MAX_EXPORT = 255 * 32

RECORD_TAG_LEN = 16
MAX_PAYLOAD = 16384
LAST_SEQ = 2 ** 64 - 1

F3_DENIED = DENIED + bytes(TAG_LEN)


# Errors

class AuthenticationError(Exception):
    """The base of everything that can go wrong with a peer."""


class Denied(AuthenticationError):
    """The server refused: an unauthenticated hint, which may be forged."""


class ServerNotAuthentic(AuthenticationError):
    """The server accepted but could not prove that it knows the secret."""


class ClientNotAuthentic(AuthenticationError):
    """The client has an unknown key id, or its proof is wrong."""


class Incompatible(AuthenticationError):
    """The peer speaks another protocol, version, role or mode.

    ``what`` is the one of these four words that applies.
    """

    def __init__(self, what):
        super().__init__("the peer has another %s" % what)
        self.what = what


class Malformed(AuthenticationError):
    """The header was right, but what follows is not this protocol."""


class Closed(AuthenticationError):
    """The stream ended before the message was complete."""


class TimedOut(AuthenticationError):
    """The deadline passed before the handshake was complete."""


class BadRecord(AuthenticationError):
    """A record is not what the peer sent; the connection is finished."""


# Primitives

def mac(key, message):
    """HMAC-SHA-256."""
    return hmac.new(key, message, hashlib.sha256).digest()


def expand(prk, info, length):
    """HKDF-Expand of RFC 5869 with SHA-256."""
    output = block = b""
    counter = 1
    while len(output) < length:
        block = mac(prk, block + info + bytes([counter]))
        output += block
        counter += 1
    return output[:length]


def lv(data):
    """One byte of length, then the bytes."""
    if len(data) > 255:
        raise ValueError("at most 255 bytes are possible here")
    return bytes([len(data)]) + data


# Keys

class Key:
    """The keys derived from one secret, with the key id that names it."""

    def __init__(self, secret, key_id=b""):
        # bytes(int) would quietly make a secret of zeros.
        if not isinstance(secret, (bytes, bytearray)):
            raise TypeError("the secret must be bytes")
        if len(secret) < MIN_SECRET:
            raise ValueError("the secret has fewer than %d bytes"
                             % MIN_SECRET)
        if len(set(secret)) == 1:
            raise ValueError("all bytes of the secret are equal")
        if len(key_id) > MAX_KEY_ID:
            raise ValueError("the key id has more than %d bytes"
                             % MAX_KEY_ID)
        self.key_id = bytes(key_id)
        # The secret is the message here, never the key: as HMAC keys,
        # k and k|00 would be the same secret.
        self.prk = mac(b"countersign/1", bytes(secret))
        self.kc = expand(self.prk, b"countersign/1 client proof", 32)
        self.ks = expand(self.prk, b"countersign/1 server proof", 32)
        self.kx = expand(self.prk, b"countersign/1 session", 32)

    def __repr__(self):
        return "Key(key_id=%r)" % self.key_id

    @classmethod
    def from_file(cls, path, key_id=b""):
        """The secret is the file without its trailing LF or CRLF."""
        with open(path, "rb") as file:
            secret = file.read()
        if secret.endswith(b"\r\n"):
            secret = secret[:-2]
        elif secret.endswith(b"\n"):
            secret = secret[:-1]
        return cls(secret, key_id)

    def child_secret(self, key_id):
        """The secret of the one client that has this key id."""
        if not 1 <= len(key_id) <= MAX_KEY_ID:
            raise ValueError("a child's id has 1 to %d bytes" % MAX_KEY_ID)
        info = b"countersign/1 child" + lv(key_id)
        return expand(self.prk, info, 32).hex().encode("ascii")

    def fingerprint(self):
        """Eight hexadecimal digits to tell secrets apart."""
        return expand(self.prk, b"countersign/1 fingerprint", 32)[:4].hex()


# A key that nobody holds.  It makes an unknown key id cost the same work as a
# known one.
_DUMMY = Key(secrets.token_bytes(32))


# Messages, as pure functions

def prologue(service, binding):
    """What both ends have to agree on and do not send."""
    return lv(service) + lv(binding)


def header(role, mode):
    """The eight bytes that begin the first two messages."""
    if mode not in (HANDSHAKE_ONLY, RECORDS):
        raise ValueError("the mode is 0 or 1")
    return NAME + VERSION + role + bytes([mode])


def make_f1(mode, server_nonce):
    """The server's challenge."""
    return header(SERVER, mode) + server_nonce


def make_f2_untagged(mode, key_id, client_nonce):
    """The client's answer, up to its proof."""
    return header(CLIENT, mode) + lv(key_id) + client_nonce


def client_proof(key, agreed, f1, f2_untagged):
    """Tc."""
    return mac(key.kc, agreed + f1 + f2_untagged)


def server_proof(key, agreed, f1, f2):
    """Ts."""
    return mac(key.ks, agreed + f1 + f2 + ACCEPTED)


def session_secret(key, agreed, f1, f2):
    """X."""
    return mac(key.kx, agreed + f1 + f2 + ACCEPTED)


class Session:
    """What a successful handshake leaves behind, the same at both ends."""

    def __init__(self, secret, key_id, mode):
        self._secret = secret
        self.key_id = key_id
        self.mode = mode

    def export(self, label, context, length):
        """Key material for the application's own use."""
        if not 1 <= len(label) <= 255:
            raise ValueError("a label has 1 to 255 bytes")
        if len(context) > 65535:
            raise ValueError("a context has at most 65535 bytes")
        if not 1 <= length <= MAX_EXPORT:
            raise ValueError("1 to %d bytes can be exported" % MAX_EXPORT)
        info = (b"countersign/1 export" + lv(label)
                + struct.pack(">H", len(context)) + context
                + struct.pack(">H", length))
        return expand(self._secret, info, length)

    def record_keys(self):
        """The keys (client to server, server to client) of mode 1."""
        if self.mode != RECORDS:
            raise ValueError("this session has no records")
        return (expand(self._secret, b"countersign/1 record client", 32),
                expand(self._secret, b"countersign/1 record server", 32))


# The handshake on a socket

class _Wire:
    """Reads and writes messages under one deadline for all of them."""

    def __init__(self, sock, deadline):
        self._sock = sock
        self._timeout = sock.gettimeout()
        self._end = None if deadline is None else time.monotonic() + deadline

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # The deadline covers the handshake only.  If the socket is broken by
        # now, the original error is the one to report.
        try:
            self._sock.settimeout(self._timeout)
        except OSError:
            pass

    def _attempt(self, operation, argument):
        if self._end is not None:
            left = self._end - time.monotonic()
            if left <= 0:
                raise TimedOut("the handshake took too long")
            self._sock.settimeout(left)
        try:
            return operation(argument)
        except socket.timeout:
            raise TimedOut("the handshake took too long") from None
        except ConnectionError:
            raise Closed("the connection broke") from None

    def read(self, length, check=lambda data: None):
        """Read exactly this many bytes. The next is application data.

        ``check`` sees the bytes so far after every read, so that a
        peer that cannot be right is refused at once.
        """
        data = b""
        while len(data) < length:
            more = self._attempt(self._sock.recv, length - len(data))
            if not more:
                raise Closed("the peer closed the connection")
            data += more
            check(data)
        return data

    def write(self, message):
        self._attempt(self._sock.sendall, message)


def _check_header(data, expected):
    for position, (got, wanted) in enumerate(zip(data, expected)):
        if got != wanted:
            raise Incompatible({5: "version", 6: "role", 7: "mode"}
                               .get(position, "protocol"))


def _check_f2(data, expected):
    _check_header(data, expected)
    if len(data) > F2_ID_LEN_AT and data[F2_ID_LEN_AT] > MAX_KEY_ID:
        raise Malformed("the key id is too long")


def _check_f3(data):
    if data[:1] not in (ACCEPTED, DENIED):
        raise Malformed("the verdict is neither yes nor no")


def server_authenticate(sock, keys, service=b"", binding=b"", mode=0,
                        deadline=None):
    """Authenticate the client at the other end of a blocking socket.

    ``keys`` is a Key, or a callable that gives the Key of a key id or None.
    The caller drops the socket if an exception is raised.
    """
    agreed = prologue(service, binding)
    expected = header(CLIENT, mode)
    if isinstance(keys, Key):
        only = keys

        def keys(key_id):
            return only if key_id == only.key_id else None

    with _Wire(sock, deadline) as wire:
        f1 = make_f1(mode, secrets.token_bytes(NONCE_LEN))
        wire.write(f1)

        f2 = wire.read(F2_LEN, lambda data: _check_f2(data, expected))
        key_id_len = f2[F2_ID_LEN_AT]
        f2 += wire.read(key_id_len)
        id_at = F2_ID_LEN_AT + 1
        key_id = f2[id_at:id_at + key_id_len]

        key = keys(key_id)
        proof = client_proof(key or _DUMMY, agreed, f1, f2[:-TAG_LEN])
        right = hmac.compare_digest(proof, f2[-TAG_LEN:])
        if key is None or not right:
            # The client is refused even if it cannot be told.
            try:
                wire.write(F3_DENIED)
            except (AuthenticationError, OSError):
                pass
            raise ClientNotAuthentic("the client is not authentic")

        # Nothing that depends on the secret exists before this point.
        wire.write(ACCEPTED + server_proof(key, agreed, f1, f2))
    return Session(session_secret(key, agreed, f1, f2), key_id, mode)


def client_authenticate(sock, key, service=b"", binding=b"", mode=0,
                        deadline=None):
    """Authenticate to, and authenticate, the server at the other end."""
    agreed = prologue(service, binding)
    expected = header(SERVER, mode)

    with _Wire(sock, deadline) as wire:
        f1 = wire.read(F1_LEN, lambda data: _check_header(data, expected))

        f2 = make_f2_untagged(mode, key.key_id, secrets.token_bytes(NONCE_LEN))
        f2 += client_proof(key, agreed, f1, f2)
        wire.write(f2)

        # A verdict counts only if it is complete, even if its rest is ignored.
        f3 = wire.read(F3_LEN, _check_f3)
    if f3[:1] == DENIED:
        raise Denied("the server denied access")
    if not hmac.compare_digest(server_proof(key, agreed, f1, f2), f3[1:]):
        raise ServerNotAuthentic("the server is not authentic")
    return Session(session_secret(key, agreed, f1, f2), key.key_id, mode)


# Records

def _record_tag(key, seq, length_and_payload):
    message = struct.pack(">Q", seq) + length_and_payload
    return mac(key, message)[:RECORD_TAG_LEN]


class Sealer:
    """Makes the records of one direction."""

    def __init__(self, key):
        self._key = key
        self.seq = 0
        self.closed = False

    def seal(self, payload):
        """A data record; an empty one would be taken for the close."""
        if not 1 <= len(payload) <= MAX_PAYLOAD:
            raise ValueError("a payload has 1 to %d bytes" % MAX_PAYLOAD)
        return self._record(payload)

    def close(self):
        """The last record of this direction."""
        record = self._record(b"")
        self.closed = True
        return record

    def _record(self, payload):
        if self.closed:
            raise ValueError("this direction is closed")
        if self.seq >= LAST_SEQ:
            raise ValueError("the sequence numbers are used up")
        body = struct.pack(">H", len(payload)) + payload
        record = body + _record_tag(self._key, self.seq, body)
        self.seq += 1
        return record


class Opener:
    """Verifies the records of one direction."""

    def __init__(self, key):
        self._key = key
        self.seq = 0
        self.closed = False
        self.failed = False

    def remaining(self, length_bytes):
        """How many bytes follow the first two of a record."""
        length = struct.unpack(">H", length_bytes)[0]
        if length > MAX_PAYLOAD:
            self._fail("the record is too long")
        return length + RECORD_TAG_LEN

    def open(self, record):
        """The payload of a whole record; b"" is the close.

        A stream that ends while ``closed`` is false was truncated.
        """
        if self.failed:
            raise BadRecord("the connection has failed already")
        if self.closed:
            return b""
        if self.seq >= LAST_SEQ:
            self._fail("the sequence numbers are used up")
        if len(record) < 2 or len(record) - 2 != self.remaining(record[:2]):
            self._fail("the record has another length than it says")
        body, tag = record[:-RECORD_TAG_LEN], record[-RECORD_TAG_LEN:]
        wanted = _record_tag(self._key, self.seq, body)
        if not hmac.compare_digest(wanted, tag):
            self._fail("the record is not authentic")
        self.seq += 1
        self.closed = len(body) == 2
        return body[2:]

    def _fail(self, reason):
        self.failed = True
        raise BadRecord(reason)


# Known-answer vectors

VECTORS_COMMENT = """\
# Known-answer vectors of the countersign protocol, version 1.
#
# Vectors are separated by blank lines; each line is "field: value".  Octet
# strings are in lower-case hexadecimal and may be empty.  Not hexadecimal:
# name and expect (words), fingerprint and child-secret (the ASCII text
# itself), export-length (decimal).
#
# Inputs: secret to client-nonce, where the client's secret, service and
# binding are given only if they differ from the server's; export-label,
# export-context, export-length, record-*-payload-N and child-id.  All else is
# computed.  prk to fingerprint are those of the client's secret, prologue is
# the client's, f2-untagged is F2 without Tc.  The records of a direction have
# sequence numbers from 0, and the close has the next one.
#
# expect is "accepted", "denied wrong proof", or "denied unknown key id": the
# last is an input too, as it says what the server does not know.
"""

UNKNOWN = "denied unknown key id"
WRONG_PROOF = "denied wrong proof"


def compute(name, expect, secret, client_secret=None, key_id=b"", service=b"",
            client_service=None, binding=b"", client_binding=None, mode=0,
            server_nonce=b"", client_nonce=b"", exports=(), client_payloads=(),
            server_payloads=(), children=()):
    """All fields of a vector, in order, as pairs of strings.

    Of ``expect`` only UNKNOWN is an input, the other values are computed.  The
    client's values are None where they are the server's.
    """
    ours = Key(secret, key_id)
    theirs = ours if client_secret is None else Key(client_secret, key_id)
    our_agreed = prologue(service, binding)
    agreed = prologue(
        service if client_service is None else client_service,
        binding if client_binding is None else client_binding)

    f1 = make_f1(mode, server_nonce)
    f2_untagged = make_f2_untagged(mode, key_id, client_nonce)
    if (len(f1), len(f2_untagged)) != (F1_LEN, F2_LEN - 32 + len(key_id)):
        raise ValueError("a nonce has 32 bytes")
    tc = client_proof(theirs, agreed, f1, f2_untagged)
    f2 = f2_untagged + tc
    if expect != UNKNOWN:
        right = tc == client_proof(ours, our_agreed, f1, f2_untagged)
        expect = "accepted" if right else WRONG_PROOF
    accepted = expect == "accepted"
    ts = server_proof(ours, our_agreed, f1, f2)

    fields = [("name", name), ("expect", expect)]

    def add(field, data):
        fields.append((field, data.hex()))

    def add_client(field, data, server_data):
        if data is not None and data != server_data:
            add(field, data)

    add("secret", secret)
    add_client("client-secret", client_secret, secret)
    add("key-id", key_id)
    add("service", service)
    add_client("client-service", client_service, service)
    add("binding", binding)
    add_client("client-binding", client_binding, binding)
    add("mode", bytes([mode]))
    add("server-nonce", server_nonce)
    add("client-nonce", client_nonce)
    add("prk", theirs.prk)
    add("kc", theirs.kc)
    add("ks", theirs.ks)
    add("kx", theirs.kx)
    fields.append(("fingerprint", theirs.fingerprint()))
    add("prologue", agreed)
    add("f1", f1)
    add("f2-untagged", f2_untagged)
    add("tc", tc)
    add("f2", f2)
    add("f3", ACCEPTED + ts if accepted else F3_DENIED)
    if accepted:
        secret_x = session_secret(ours, our_agreed, f1, f2)
        session = Session(secret_x, key_id, mode)
        add("ts", ts)
        add("x", secret_x)
        for label, context, length in exports:
            add("export-label", label)
            add("export-context", context)
            fields.append(("export-length", str(length)))
            add("export-output", session.export(label, context, length))
        if mode == RECORDS:
            krc, krs = session.record_keys()
            add("krc", krc)
            add("krs", krs)
            for end, key, payloads in (("client", krc, client_payloads),
                                       ("server", krs, server_payloads)):
                sealer = Sealer(key)
                for number, payload in enumerate(payloads):
                    add("record-%s-payload-%d" % (end, number), payload)
                    add("record-%s-%d" % (end, number), sealer.seal(payload))
                add("record-%s-close" % end, sealer.close())
    for child in children:
        add("child-id", child)
        fields.append(("child-secret",
                       theirs.child_secret(child).decode("ascii")))
    return fields


def fixed(label, length=32):
    """Bytes that look random and are always the same."""
    return expand(hashlib.sha256(label.encode("ascii")).digest(), b"", length)


def all_vectors():
    """The inputs of every vector, as arguments of ``compute``."""
    k63 = fixed("a secret of 63 octets", 63)
    k1000 = fixed("a secret of 1000 octets", 1000)
    k32 = fixed("a secret of 32 octets")
    # What a key file usually holds: the digits themselves are the secret.
    text = fixed("a secret in hexadecimal").hex().encode("ascii")
    tls = b"tls-exporter:" + fixed("a TLS connection")
    billing = b"billing/2"

    accepted = [
        dict(name="the shortest secret, no key id, no service, no binding",
             secret=bytes(range(16)),
             exports=[(b"a", b"", 1), (b"a", b"", 32)]),
        dict(name="a hexadecimal secret, a key id of 5 octets, a service of 9",
             secret=text, key_id=b"node7", service=billing,
             exports=[(b"example label", b"", 33),
                      (b"example label", b"a context", 64),
                      (b"example label", bytes(257), 100)],
             children=[b"n", b"node7", bytes(range(192, 256))]),
        dict(name="a child secret, used with its own id",
             secret=Key(text).child_secret(b"node7"), key_id=b"node7",
             service=billing),
        dict(name="a key id of 64 octets, a service and a binding of 255",
             secret=k32, key_id=bytes(range(192, 256)),
             service=bytes(range(255)), binding=bytes(range(255, 0, -1)),
             exports=[(bytes(range(255)), b"", 32)]),
        dict(name="a tls-exporter binding", secret=k32, key_id=b"node7",
             service=b"billing/2@node-7", binding=tls),
        dict(name="a secret k of 63 octets", secret=k63),
        dict(name="a secret of 64 octets which is k and a zero octet",
             secret=k63 + b"\0"),
        dict(name="a secret of 65 octets which is k and two zero octets",
             secret=k63 + b"\0\0"),
        dict(name="a long secret of 1000 octets", secret=k1000),
        dict(name="a secret which is the SHA-256 of the long one",
             secret=hashlib.sha256(k1000).digest()),
        dict(name="records, with nothing named", secret=k32, mode=RECORDS,
             client_payloads=[b"a", b"hello"],
             server_payloads=[b"\0", b"world"]),
        dict(name="records, with everything named, one of 257 octets",
             secret=text, key_id=b"node7", service=billing, binding=tls,
             mode=RECORDS, exports=[(b"example label", b"a context", 32)],
             client_payloads=[b"hello", fixed("a payload", 257)],
             server_payloads=[b"world", b"a"]),
        dict(name="records, with only the closes", secret=k32, mode=RECORDS),
    ]
    unknown = [
        dict(name="a key id that the server does not know", secret=k32,
             key_id=b"nobody", service=billing),
        dict(name="no key id where the server expects one", secret=k32),
    ]
    wrong = [
        dict(name="another secret", secret=k32, client_secret=text,
             key_id=b"node7"),
        dict(name="a secret with a zero octet appended", secret=k63,
             client_secret=k63 + b"\0"),
        dict(name="the SHA-256 of a long secret in its place",
             secret=fixed("a secret of 65 octets", 65),
             client_secret=hashlib.sha256(
                 fixed("a secret of 65 octets", 65)).digest()),
        dict(name="the child secret of another id", key_id=b"node7",
             secret=Key(text).child_secret(b"node7"),
             client_secret=Key(text).child_secret(b"node8")),
        dict(name="another service", secret=k32, service=billing,
             client_service=b"billing/3"),
        dict(name="another binding", secret=k32, binding=tls,
             client_binding=b"tls-exporter:" + fixed("another connection")),
        dict(name="no binding at the client", secret=k32, binding=tls,
             client_binding=b""),
        dict(name="the same octets divided otherwise into service and binding",
             secret=k32, service=b"billing", binding=b"/2",
             client_service=b"billing/", client_binding=b"2"),
    ]
    for expect, group in (("accepted", accepted), (UNKNOWN, unknown),
                          (WRONG_PROOF, wrong)):
        for vector in group:
            yield dict(vector, expect=expect,
                       server_nonce=fixed("server: " + vector["name"]),
                       client_nonce=fixed("client: " + vector["name"]))


def format_vectors():
    """The text of the vector file."""
    blocks = [VECTORS_COMMENT]
    for vector in all_vectors():
        fields = compute(**vector)
        if fields[1] != ("expect", vector["expect"]):
            raise AssertionError("not as meant: " + vector["name"])
        blocks.append("".join(
            ("%s: %s" % pair).rstrip() + "\n" for pair in fields))
    return "\n".join(blocks)


def parse_vectors(text):
    """The fields of each vector of a file, as pairs of strings."""
    vectors, fields = [], []
    for line in text.splitlines() + [""]:
        if line.startswith("#"):
            continue
        if line:
            field, colon, value = line.partition(":")
            if not colon or (value and not value.startswith(" ")):
                raise ValueError("not a field: %r" % line)
            fields.append((field, value[1:]))
        elif fields:
            vectors.append(fields)
            fields = []
    return vectors


def inputs_of(fields):
    """The arguments of ``compute`` that the fields of a vector give."""
    arguments = dict(exports=[], children=[], client_payloads=[],
                     server_payloads=[])
    byte_fields = ("secret", "client-secret", "key-id", "service",
                   "client-service", "binding", "client-binding",
                   "server-nonce", "client-nonce")
    for field, value in fields:
        if field in ("name", "expect"):
            arguments[field] = value
        elif field in byte_fields:
            arguments[field.replace("-", "_")] = bytes.fromhex(value)
        elif field == "mode":
            arguments["mode"] = int(value, 16)
        elif field == "export-label":
            label = bytes.fromhex(value)
        elif field == "export-context":
            context = bytes.fromhex(value)
        elif field == "export-length":
            arguments["exports"].append((label, context, int(value)))
        elif field == "child-id":
            arguments["children"].append(bytes.fromhex(value))
        elif field.startswith("record-client-payload-"):
            arguments["client_payloads"].append(bytes.fromhex(value))
        elif field.startswith("record-server-payload-"):
            arguments["server_payloads"].append(bytes.fromhex(value))
    return arguments


def differences(fields):
    """What is wrong with a vector, as sentences."""
    try:
        computed = compute(**inputs_of(fields))
    except (TypeError, ValueError, UnboundLocalError) as error:
        return ["cannot be computed: %s" % error]
    found = []
    for given, wanted in zip_longest(fields, computed, fillvalue=("", "")):
        if given[0] != wanted[0]:
            # From here on the two lists do not match.
            found.append("field %s where %s belongs" % (
                given[0] or "(end)", wanted[0] or "(end)"))
            break
        if given[1] != wanted[1]:
            found.append("%s is %s, computed %s" % (
                given[0], given[1], wanted[1]))
    return found


def check_file(path):
    """Recompute a vector file; true if nothing differs."""
    with open(path, encoding="ascii") as file:
        vectors = parse_vectors(file.read())
    failed = 0
    for number, fields in enumerate(vectors, 1):
        found = differences(fields)
        failed += bool(found)
        name = dict(fields).get("name", "vector %d" % number)
        for sentence in found:
            print("%s: %s" % (name, sentence))
    print("%d passed, %d failed" % (len(vectors) - failed, failed))
    # A file without vectors proves nothing.
    return bool(vectors) and not failed


# The command

DEADLINE = 5.0


def printable(data):
    """Key ids come from strangers: only plain ASCII reaches a terminal."""
    return "".join(
        chr(byte) if 0x20 < byte < 0x7f and byte != 0x5c
        else "\\x%02x" % byte for byte in data)


def address(text):
    """(host, port) of HOST:PORT."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError("%r is not HOST:PORT" % text)
    return host.strip("[]"), int(port)


def listen(where):
    """A listening socket, announced on stdout with its real port."""
    family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    listener = socket.create_server(where, family=family)
    host, port = listener.getsockname()[:2]
    if family == socket.AF_INET6:
        host = "[%s]" % host
    print("listening on %s:%d" % (host, port), flush=True)
    return listener


def echo(connection):
    """Send everything back until the peer has no more."""
    while True:
        data = connection.recv(65536)
        if not data:
            return
        connection.sendall(data)


def say(text):
    """A line on stderr, at once."""
    print(text, file=sys.stderr, flush=True)


def command_serve(options):
    key = Key.from_file(options.key_file, os.fsencode(options.key_id))
    service = os.fsencode(options.service)
    refused = 0
    with listen(options.listen) as listener:
        for _ in range(options.connections):
            connection = listener.accept()[0]
            with connection:
                try:
                    session = server_authenticate(
                        connection, key, service, deadline=DEADLINE)
                except (AuthenticationError, OSError) as error:
                    refused += 1
                    say("refused: %s" % error)
                    continue
                say(("accepted " + printable(session.key_id)).rstrip())
                try:
                    echo(connection)
                except OSError:
                    pass  # it was accepted all the same
    return 1 if refused else 0


def command_connect(options):
    key = Key.from_file(options.key_file, os.fsencode(options.key_id))
    message = os.fsencode(options.message)
    with socket.create_connection(options.connect, DEADLINE) as connection:
        client_authenticate(connection, key, os.fsencode(options.service),
                            deadline=DEADLINE)
        connection.sendall(message)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while True:
            data = connection.recv(65536)
            if not data:
                break
            answer += data
    sys.stdout.buffer.write(answer + b"\n")
    sys.stdout.buffer.flush()
    if answer != message:
        say("The answer is not the message.")
        return 1
    return 0


def command_vectors(_):
    # Through the buffer, so that line ends are LF on every platform.
    sys.stdout.buffer.write(format_vectors().encode("ascii"))
    sys.stdout.buffer.flush()
    return 0


def command_check(options):
    return 0 if check_file(options.file) else 1


def main():
    sys.dont_write_bytecode = True
    parser = argparse.ArgumentParser(
        description="The countersign protocol, version 1, in Python.")
    commands = parser.add_subparsers(dest="command", required=True)

    vectors = commands.add_parser("vectors", help="print known answers")
    vectors.set_defaults(run=command_vectors)

    check = commands.add_parser("check", help="recompute a file of them")
    check.add_argument("file", metavar="FILE")
    check.set_defaults(run=command_check)

    serve = commands.add_parser("serve", help="authenticate clients and echo")
    connect = commands.add_parser("connect", help="send a message to an echo")
    for command in (serve, connect):
        command.add_argument("--key-file", metavar="PATH", required=True)
        command.add_argument("--key-id", metavar="ID", default="")
        command.add_argument("--service", metavar="NAME", default="")
    serve.add_argument("--listen", metavar="HOST:PORT", type=address,
                       default="127.0.0.1:0")
    serve.add_argument("--connections", metavar="N", type=int, default=1)
    serve.set_defaults(run=command_serve)
    connect.add_argument("--connect", metavar="HOST:PORT", type=address,
                         required=True)
    connect.add_argument("message", metavar="MESSAGE", nargs="?",
                         default="Hello World")
    connect.set_defaults(run=command_connect)

    options = parser.parse_args()
    try:
        return options.run(options)
    except (AuthenticationError, OSError, ValueError) as error:
        reason = str(error)
        say(reason[:1].upper() + reason[1:] + ".")
        return 1


if __name__ == "__main__":
    sys.exit(main())
