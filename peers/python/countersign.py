#!/usr/bin/env python3
"""An independent implementation of the countersign protocol, version 1.

Written from PROTOCOL.md alone, with nothing but the standard library, so that
it can judge the crate rather than echo it.  It is a module (``Key``,
``Keyring``, ``server_authenticate``, ``client_authenticate``, ``Sealer``,
``Opener``, ``Stream``) and a command.  It speaks modes 0 and 1: the standard
library has neither X25519 nor AES.

    countersign.py vectors [handshake | key-files | passphrases]
    countersign.py check FILE
    countersign.py fingerprint KEY-FILE
    countersign.py serve (--key-file PATH [--key-id ID] | --key-dir PATH)
                         [--service NAME] [--verb authenticate | protect]
                         [--listen HOST:PORT] [--connections N]
    countersign.py connect --connect HOST:PORT --key-file PATH [--key-id ID]
                           [--service NAME] [--verb authenticate | protect]
                           [MESSAGE]

A MESSAGE of "-" is read from standard input.

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
import threading
import time

import key_files
from key_files import KeyFileError, printable

NAME = b"CSIGN"
VERSION = b"1"
SERVER = b"S"
CLIENT = b"C"
ACCEPTED = b"A"
DENIED = b"D"

HANDSHAKE_ONLY = 0
RECORDS = 1
VERBS = ("authenticate", "protect", "encrypt")  # by their modes

NONCE_LEN = 32
TAG_LEN = 32
F1_LEN = 40
F2_LEN = 73  # with an empty key id
F3_LEN = 33
F2_ID_LEN_AT = 8
MODE_AT = 7
MAX_KEY_ID = 64
MIN_SECRET = 16
MIN_PASSPHRASE = 8
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

    def __init__(self, what, theirs, own):
        reason = "the peer has another %s" % what
        if what == "mode":
            reason = "wrong mode: the peer wants %s, this end %s" % (
                verb(theirs), verb(own))
        super().__init__(reason)
        self.what = what


class Malformed(AuthenticationError):
    """The header was right, but what follows is not this protocol."""


class Closed(AuthenticationError):
    """The stream ended before the message was complete."""


class TimedOut(AuthenticationError):
    """The deadline passed before the handshake was complete."""


class BadRecord(AuthenticationError):
    """A record is not what the peer sent; the connection is finished."""


class Truncated(AuthenticationError):
    """The stream ended, or was lost, before the peer's close."""


def verb(mode):
    """The name of a mode, for people."""
    return VERBS[mode] if mode < len(VERBS) else "mode %d" % mode


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
    """The keys derived from one secret, with the key id that names it.

    ``accepted`` is the Key of a second secret, which a server accepts too
    while the first is rotated, or None.
    """

    def __init__(self, secret, key_id=b"", accepted_secret=None):
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
        self.accepted = (None if accepted_secret is None
                         else Key(accepted_secret, key_id))

    def __repr__(self):
        return "Key(key_id=%r)" % self.key_id

    @classmethod
    def from_file(cls, path, key_id=b"", shared=False):
        """The key of a key file, which others may read if ``shared``."""
        secrets_ = key_files.read_file(path, shared)
        with key_files.naming(path):
            return cls(secrets_.first, key_id, secrets_.accepted)

    @classmethod
    def from_passphrase(cls, passphrase, key_id):
        """The key of a passphrase, whose salt is the key id.

        It takes some tenths of a second and 64 MiB.
        """
        return cls(passphrase_secret(passphrase, key_id), key_id)

    def child(self, key_id):
        """The key of one child, which has two secrets if this one has."""
        accepted = self.accepted and self.accepted.child_secret(key_id)
        return Key(self.child_secret(key_id), key_id, accepted)

    def child_secret(self, key_id):
        """The secret of the one client that has this key id."""
        if not 1 <= len(key_id) <= MAX_KEY_ID:
            raise ValueError("a child's id has 1 to %d bytes" % MAX_KEY_ID)
        info = b"countersign/1 child" + lv(key_id)
        return expand(self.prk, info, 32).hex().encode("ascii")

    def fingerprint(self):
        """Eight hexadecimal digits to tell secrets apart."""
        return expand(self.prk, b"countersign/1 fingerprint", 32)[:4].hex()


def passphrase_secret(passphrase, key_id):
    """The secret that scrypt makes of a passphrase: 64 digits."""
    if len(passphrase) < MIN_PASSPHRASE:
        raise ValueError("the passphrase has fewer than %d bytes"
                         % MIN_PASSPHRASE)
    if not 1 <= len(key_id) <= MAX_KEY_ID:
        raise ValueError("the key id of a passphrase has 1 to %d bytes"
                         % MAX_KEY_ID)
    # The default limit on memory is below the 64 MiB that this takes.
    secret = hashlib.scrypt(
        passphrase, salt=b"countersign/1 passphrase" + lv(key_id),
        n=2 ** 16, r=8, p=2, dklen=32, maxmem=2 ** 27)
    return secret.hex().encode("ascii")


class Keyring:
    """The keys of a key directory, by their ids."""

    def __init__(self, path, shared=False):
        self._path = path
        self._shared = shared
        self._keys = {}
        for error in self.reload():
            raise error

    def __call__(self, key_id):
        return self._keys.get(key_id)

    def ids(self):
        return sorted(self._keys)

    def reload(self):
        """Read the directory again; the errors about its files.

        An id whose file is gone is no longer accepted.  A file that is at
        fault keeps the former key of its id.
        """
        found, failed, errors = key_files.read_directory(
            self._path, self._shared)
        keys = {}
        for key_id, pair in found.items():
            try:
                keys[key_id] = Key(pair.first, key_id, pair.accepted)
            except ValueError as error:
                failed[key_id] = KeyFileError(
                    os.path.join(os.fsencode(self._path), key_id + b".key"),
                    error)
        for key_id, error in failed.items():
            errors.append(error)
            if key_id in self._keys:
                keys[key_id] = self._keys[key_id]
        self._keys = keys
        return errors


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
    """What a successful handshake leaves behind, the same at both ends.

    At a server, ``second`` says that the client used the second secret.
    """

    def __init__(self, secret, key_id, mode, second=False):
        self._secret = secret
        self.key_id = key_id
        self.mode = mode
        self.second = second

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

# Dropping a socket with bytes unread makes a reset, which can destroy what was
# sent before.
LINGER_SECONDS = 1.0
LINGER_BYTES = 65536


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

    def answer(self, message):
        """Write what the peer should know of a failure, and linger.

        The failure is decided: nothing that happens here changes it.
        """
        try:
            self.write(message)
            self._sock.shutdown(socket.SHUT_WR)
            end = time.monotonic() + LINGER_SECONDS
            self._end = end if self._end is None else min(end, self._end)
            left = LINGER_BYTES
            while left > 0:
                data = self._attempt(self._sock.recv, left)
                if not data:
                    break
                left -= len(data)
        except (AuthenticationError, OSError):
            pass


def _check_header(data, expected):
    for position, (got, wanted) in enumerate(zip(data, expected)):
        if got != wanted:
            raise Incompatible({5: "version", 6: "role", MODE_AT: "mode"}
                               .get(position, "protocol"), got, wanted)


def _check_f2(data, expected):
    _check_header(data, expected)
    if len(data) > F2_ID_LEN_AT and data[F2_ID_LEN_AT] > MAX_KEY_ID:
        raise Malformed("the key id is too long")


def _check_f3(data):
    if data[:1] not in (ACCEPTED, DENIED):
        raise Malformed("the verdict is neither yes nor no")


def verify_client(key, agreed, f1, f2):
    """The key whose secret the client used, the second's too, or None.

    Without a match this makes two proofs, whatever keys there are.
    """
    for candidate in (key, key and key.accepted):
        proof = client_proof(candidate or _DUMMY, agreed, f1, f2[:-TAG_LEN])
        right = hmac.compare_digest(proof, f2[-TAG_LEN:])
        if candidate is not None and right:
            return candidate
    return None


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
        used = verify_client(key, agreed, f1, f2)
        if used is None:
            wire.answer(F3_DENIED)
            raise ClientNotAuthentic("the client is not authentic")

        # Nothing that depends on the secret exists before this point.
        wire.write(ACCEPTED + server_proof(used, agreed, f1, f2))
    return Session(session_secret(used, agreed, f1, f2), key_id, mode,
                   second=used is not key)


def client_authenticate(sock, key, service=b"", binding=b"", mode=0,
                        deadline=None):
    """Authenticate to, and authenticate, the server at the other end."""
    agreed = prologue(service, binding)
    expected = header(SERVER, mode)

    with _Wire(sock, deadline) as wire:
        try:
            f1 = wire.read(F1_LEN, lambda data: _check_header(data, expected))
        except Incompatible as fault:
            if fault.what in ("version", "mode"):
                wire.answer(header(CLIENT, mode))
            raise

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
            self._fail("bad length: a record has at most %d bytes" % MAX_PAYLOAD)
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
            self._fail("bad length: it is another than the record says")
        body, tag = record[:-RECORD_TAG_LEN], record[-RECORD_TAG_LEN:]
        wanted = _record_tag(self._key, self.seq, body)
        if not hmac.compare_digest(wanted, tag):
            self._fail("bad tag: the record is not authentic")
        self.seq += 1
        self.closed = len(body) == 2
        return body[2:]

    def _fail(self, reason):
        self.failed = True
        raise BadRecord(reason)


class Stream:
    """What follows a handshake on a blocking socket: bytes, or records."""

    def __init__(self, sock, session, role):
        self._sock = sock
        self._sealer = self._opener = None
        if session.mode == RECORDS:
            to_server, to_client = session.record_keys()
            out, into = ((to_server, to_client) if role == CLIENT
                         else (to_client, to_server))
            self._sealer, self._opener = Sealer(out), Opener(into)

    def read(self):
        """The next bytes; b"" when the peer has no more."""
        if self._opener is None:
            return self._sock.recv(65536)
        if self._opener.closed:
            return b""
        length = self._exactly(2)
        try:
            return self._opener.open(
                length + self._exactly(self._opener.remaining(length)))
        except BadRecord:
            self._sealer.closed = True  # It ends both directions.
            raise

    def write(self, data):
        if self._sealer is None:
            self._sock.sendall(data)
            return
        for start in range(0, len(data), MAX_PAYLOAD):
            self._sock.sendall(
                self._sealer.seal(data[start:start + MAX_PAYLOAD]))

    def close(self):
        """End this direction.  The other one goes on."""
        if self._sealer is not None:
            self._sock.sendall(self._sealer.close())
        self._sock.shutdown(socket.SHUT_WR)

    def _exactly(self, length):
        data = b""
        while len(data) < length:
            try:
                more = self._sock.recv(length - len(data))
            except ConnectionError:
                more = b""
            if not more:
                raise Truncated("truncated: there was no close")
            data += more
        return data


# The command

DEADLINE = 5.0


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


def echo(stream):
    """Send everything back until the peer has no more."""
    while True:
        data = stream.read()
        if not data:
            return stream.close()
        stream.write(data)


def say(text):
    """A line on stderr, at once."""
    print(text, file=sys.stderr, flush=True)


def command_serve(options):
    if options.key_dir is not None:
        keys = Keyring(options.key_dir)
    else:
        keys = Key.from_file(options.key_file, os.fsencode(options.key_id))
    service = os.fsencode(options.service)
    mode = VERBS.index(options.verb)
    failed = 0
    with listen(options.listen) as listener:
        for _ in range(options.connections):
            connection = listener.accept()[0]
            with connection:
                try:
                    session = server_authenticate(
                        connection, keys, service, mode=mode,
                        deadline=DEADLINE)
                except (AuthenticationError, OSError) as error:
                    failed += 1
                    say("refused: %s" % error)
                    continue
                place = " by its second secret" if session.second else ""
                say(("accepted " + printable(session.key_id)).rstrip() + place)
                connection.settimeout(DEADLINE)
                try:
                    echo(Stream(connection, session, SERVER))
                except (AuthenticationError, OSError) as error:
                    failed += 1
                    say("ended: %s" % error)
    return 1 if failed else 0


def exchange(stream, message):
    """Send a message, and return what comes back."""
    def send():
        try:
            stream.write(message)
            stream.close()
        except OSError:
            pass  # What the reader meets tells more.

    # Both at once, or two ends with full buffers would wait for each other.
    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    answer = b""
    while True:
        data = stream.read()
        if not data:
            break
        answer += data
    sender.join()
    return answer


def command_connect(options):
    key = Key.from_file(options.key_file, os.fsencode(options.key_id))
    message = (sys.stdin.buffer.read() if options.message == "-"
               else os.fsencode(options.message))
    with socket.create_connection(options.connect, DEADLINE) as connection:
        session = client_authenticate(
            connection, key, os.fsencode(options.service),
            mode=VERBS.index(options.verb), deadline=DEADLINE)
        answer = exchange(Stream(connection, session, CLIENT), message)
    sys.stdout.buffer.write(answer + b"\n")
    sys.stdout.buffer.flush()
    if answer != message:
        say("The answer is not the message.")
        return 1
    return 0


def command_fingerprint(options):
    key = Key.from_file(options.file)
    print(key.fingerprint())
    if key.accepted is not None:
        print("accept:" + key.accepted.fingerprint())
    return 0


def command_vectors(options):
    import vectors

    # Through the buffer, so that line ends are LF on every platform.
    text = vectors.format_vectors(options.kind)
    sys.stdout.buffer.write(text.encode("ascii"))
    sys.stdout.buffer.flush()
    return 0


def command_check(options):
    import vectors

    return 0 if vectors.check_file(options.file) else 1


def main():
    parser = argparse.ArgumentParser(
        description="The countersign protocol, version 1, in Python.")
    commands = parser.add_subparsers(dest="command", required=True)

    vectors = commands.add_parser("vectors", help="print known answers")
    vectors.add_argument("kind", nargs="?", default="handshake",
                         choices=("handshake", "key-files", "passphrases"))
    vectors.set_defaults(run=command_vectors)

    check = commands.add_parser("check", help="recompute a file of them")
    check.add_argument("file", metavar="FILE")
    check.set_defaults(run=command_check)

    fingerprint = commands.add_parser(
        "fingerprint", help="print those of a key file")
    fingerprint.add_argument("file", metavar="KEY-FILE")
    fingerprint.set_defaults(run=command_fingerprint)

    serve = commands.add_parser("serve", help="authenticate clients and echo")
    connect = commands.add_parser("connect", help="send a message to an echo")
    which = serve.add_mutually_exclusive_group(required=True)
    which.add_argument("--key-file", metavar="PATH")
    which.add_argument("--key-dir", metavar="PATH")
    connect.add_argument("--key-file", metavar="PATH", required=True)
    for command in (serve, connect):
        command.add_argument("--key-id", metavar="ID", default="")
        command.add_argument("--service", metavar="NAME", default="")
        command.add_argument("--verb", choices=VERBS[:2], default=VERBS[0])
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
    except (AuthenticationError, KeyFileError, OSError, ValueError) as error:
        reason = str(error)
        say(reason[:1].upper() + reason[1:] + ".")
        return 1


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    # The module that other modules import, so that there is one of each class.
    import countersign
    sys.exit(countersign.main())
