#!/usr/bin/env python3
"""Mutual authentication with a shared secret, over any blocking socket.

The countersign protocol, version 1: client and server, modes 0 to 2, in one
file.  It was written from PROTOCOL.md alone, whose sections are named in
comments.  README.md has examples.

    server = Server(Keyring("/etc/billing/keys"), service="billing/2")
    stream = server.protect(sock)

    client = Client(Key.from_file("worker-7.key", "worker-7"), "billing/2")
    stream = client.protect(sock)

It needs Python 3.8 or later.  Mode 2 (``encrypt``) also needs the package
``cryptography``.

Python cannot overwrite memory that a program no longer uses.  Copies of
secrets stay in it until it is used again.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import hmac
import importlib
import os
import secrets
import socket
import stat
import struct
import sys
import threading
import time
from typing import (
    Any, Callable, Dict, Iterator, List, NamedTuple, NoReturn, Optional, Set,
    Tuple, Union)

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import x25519
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
except ImportError:
    HAS_CRYPTOGRAPHY = False
else:
    HAS_CRYPTOGRAPHY = True

__all__ = [
    "AllZeroSharedSecret", "AuthenticationError", "BadRecord", "Client",
    "ClientNotAuthentic", "Closed", "Denied", "GeneratorFailed",
    "Incompatible", "Key", "KeyFileError", "Keyring", "Malformed",
    "NumbersUsedUp", "Server", "ServerNotAuthentic", "Session", "Stream",
    "TimedOut", "TransportError", "Truncated"]

Text = Union[str, bytes]

NAME = b"CSIGN"
VERSION = b"1"
SERVER = b"S"
CLIENT = b"C"
ACCEPTED = b"A"
DENIED = b"D"

HANDSHAKE_ONLY = 0
RECORDS = 1
ENCRYPT = 2
VERBS = ("authenticate", "protect", "encrypt")  # by their modes

NONCE_LEN = 32
SHARE_LEN = 32
TAG_LEN = 32
F1_LEN = 40
F2_LEN = 73  # with an empty key id
F3_LEN = 33  # without the server's share
F2_ID_LEN_AT = 8
MODE_AT = 7
MAX_KEY_ID = 64
MIN_SECRET = 16
MIN_PASSPHRASE = 8
MAX_EXPORT = 255 * 32
EXPORTER_LEN = 32

RECORD_TAG_LEN = 16
MAX_PAYLOAD = 16384
STEP_BITS = 16
LAST_SEQ = 2 ** 64 - 1

F3_DENIED = DENIED + bytes(TAG_LEN)

# How long a handshake may take, and the wait for the close of the peer.
TIMEOUT = 10.0


# Errors

class AuthenticationError(Exception):
    """The base of everything that can go wrong with a peer.

    ``outcome`` is the name in section 6.4 of PROTOCOL.md.
    """

    outcome = ""


class Denied(AuthenticationError):
    """The server refused.  This is a hint, which anyone may forge."""

    outcome = "denied"


class ServerNotAuthentic(AuthenticationError):
    """The server accepted but could not prove that it knows the secret."""

    outcome = "server not authentic"


class ClientNotAuthentic(AuthenticationError):
    """The client has an unknown key id, or its proof is wrong.

    ``key_id`` is the one that it claimed.
    """

    def __init__(self, key_id: bytes, known: bool) -> None:
        self.key_id = key_id
        self.outcome = "proof rejected" if known else "unknown key id"
        super().__init__("the client is not authentic: %s \"%s\"" % (
            "wrong proof for key id" if known else "unknown key id",
            printable(key_id)))


class Incompatible(AuthenticationError):
    """The peer speaks another protocol, version, role or mode.

    ``what`` is the one of these four words that applies.
    """

    OUTCOMES = {"protocol": "foreign protocol", "version": "other version",
                "role": "wrong role", "mode": "wrong mode"}

    def __init__(self, what: str, theirs: int, own: int) -> None:
        reason = "the peer has another %s" % what
        if what == "mode":
            reason = "wrong mode: the peer wants %s, this end %s" % (
                verb(theirs), verb(own))
        super().__init__(reason)
        self.what = what
        self.outcome = self.OUTCOMES[what]


class Malformed(AuthenticationError):
    """The header was right, but what follows is not this protocol."""

    outcome = "malformed"


class AllZeroSharedSecret(AuthenticationError):
    """The peer holds the secret, but its share is one of small order."""

    outcome = "all-zero shared secret"


class Closed(AuthenticationError):
    """The stream ended or was reset before the message was complete."""

    outcome = "closed"


class TransportError(AuthenticationError):
    """The socket failed; ``__cause__`` has its error."""

    outcome = "transport error"


class TimedOut(AuthenticationError):
    """The deadline passed before the handshake was complete."""

    outcome = "deadline"


class GeneratorFailed(AuthenticationError):
    """The operating system gave no random bytes."""

    outcome = "generator failed"


class BadRecord(AuthenticationError):
    """A record is not what the peer sent; the connection is finished."""

    def __init__(self, outcome: str, reason: str) -> None:
        super().__init__("%s: %s" % (outcome, reason))
        self.outcome = outcome


class Truncated(AuthenticationError):
    """The stream ended, or was lost, before the peer's close."""

    outcome = "truncated"


class NumbersUsedUp(AuthenticationError):
    """A direction has sent as many records as it may."""

    outcome = "numbers used up"


def verb(mode: int) -> str:
    """The name of a mode, for people."""
    return VERBS[mode] if mode < len(VERBS) else "mode %d" % mode


def printable(data: bytes) -> str:
    """Names may come from strangers: only plain ASCII reaches a terminal."""
    return "".join(
        chr(byte) if 0x20 < byte < 0x7f and byte != 0x5c
        else "\\x%02x" % byte for byte in data)


# Primitives (section 2)

def octets(text: Text) -> bytes:
    """Text as UTF-8, and bytes as they are."""
    if isinstance(text, str):
        return text.encode("utf-8")
    # bytes(int) would quietly make zeros.
    if not isinstance(text, (bytes, bytearray)):
        raise TypeError("text or bytes are needed here")
    return bytes(text)


def mac(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA-256."""
    return hmac.new(key, message, hashlib.sha256).digest()


def expand(prk: bytes, info: bytes, length: int) -> bytes:
    """HKDF-Expand of RFC 5869 with SHA-256."""
    output = block = b""
    counter = 1
    while len(output) < length:
        block = mac(prk, block + info + bytes([counter]))
        output += block
        counter += 1
    return output[:length]


def lv(data: bytes) -> bytes:
    """One byte of length, then the bytes."""
    if len(data) > 255:
        raise ValueError("at most 255 bytes are possible here")
    return bytes([len(data)]) + data


def draw() -> bytes:
    """32 bytes of the operating system's generator."""
    try:
        return secrets.token_bytes(NONCE_LEN)
    except (NotImplementedError, OSError) as error:
        raise GeneratorFailed("there are no random bytes") from error


def require_cryptography() -> None:
    if not HAS_CRYPTOGRAPHY:
        raise ImportError(
            "mode 2 (encrypt) needs the package cryptography: "
            "pip install cryptography; modes 0 and 1 do without")


def share_of(private: bytes) -> bytes:
    """X25519(private, base)."""
    require_cryptography()
    key = x25519.X25519PrivateKey.from_private_bytes(private)
    return key.public_key().public_bytes(
        serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def exchange(private: bytes, share: bytes) -> Optional[bytes]:
    """X25519(private, share), or None if it is zero."""
    require_cryptography()
    key = x25519.X25519PrivateKey.from_private_bytes(private)
    try:
        return key.exchange(x25519.X25519PublicKey.from_public_bytes(share))
    except ValueError:  # OpenSSL compares with zero, in constant time.
        return None


# Keys (section 3)

class Key:
    """The keys derived from one secret, with the key id that names it.

    ``accepted`` is the Key of a second secret, which a server accepts too
    while the first is rotated, or None.
    """

    def __init__(self, secret: Text, key_id: Text = b"",
                 accepted_secret: Optional[Text] = None) -> None:
        secret, self.key_id = octets(secret), octets(key_id)
        if len(secret) < MIN_SECRET:
            raise ValueError("the secret has fewer than %d bytes"
                             % MIN_SECRET)
        if len(set(secret)) == 1:
            raise ValueError("all bytes of the secret are equal")
        if len(self.key_id) > MAX_KEY_ID:
            raise ValueError("the key id has more than %d bytes"
                             % MAX_KEY_ID)
        # The secret is the message here, never the key: as HMAC keys,
        # k and k|00 would be the same secret.
        self.prk = mac(b"countersign/1", secret)
        self.kc = expand(self.prk, b"countersign/1 client proof", 32)
        self.ks = expand(self.prk, b"countersign/1 server proof", 32)
        self.kx = expand(self.prk, b"countersign/1 session", 32)
        self.accepted: Optional[Key] = (
            None if accepted_secret is None
            else Key(accepted_secret, self.key_id))

    def __repr__(self) -> str:
        return "Key(key_id=%r)" % self.key_id

    @classmethod
    def from_file(cls, path: str, key_id: Text = b"",
                  shared: bool = False) -> Key:
        """The key of a key file, which others may read if ``shared``."""
        found = read_key_file(path, shared)
        with naming(path):
            return cls(found.first, key_id, found.accepted)

    @classmethod
    def from_passphrase(cls, passphrase: Text, key_id: Text) -> Key:
        """The key of a passphrase, whose salt is the key id.

        It takes some tenths of a second and 64 MiB.
        """
        return cls(passphrase_secret(octets(passphrase), octets(key_id)),
                   key_id)

    def child(self, key_id: Text) -> Key:
        """The key of one child, which has two secrets if this one has."""
        accepted = (None if self.accepted is None
                    else self.accepted.child_secret(key_id))
        return Key(self.child_secret(key_id), key_id, accepted)

    def child_secret(self, key_id: Text) -> bytes:
        """The secret of the one client that has this key id: 64 digits."""
        key_id = octets(key_id)
        if not 1 <= len(key_id) <= MAX_KEY_ID:
            raise ValueError("a child's id has 1 to %d bytes" % MAX_KEY_ID)
        info = b"countersign/1 child" + lv(key_id)
        return expand(self.prk, info, 32).hex().encode("ascii")

    def fingerprint(self) -> str:
        """Eight hexadecimal digits to tell secrets apart."""
        return expand(self.prk, b"countersign/1 fingerprint", 32)[:4].hex()


def passphrase_secret(passphrase: bytes, key_id: bytes) -> bytes:
    """The secret that scrypt makes of a passphrase: 64 digits."""
    if len(passphrase) < MIN_PASSPHRASE:
        raise ValueError("the passphrase has fewer than %d bytes"
                         % MIN_PASSPHRASE)
    # It becomes the key of an HMAC, which is filled up with NULs.
    if 0 in passphrase:
        raise ValueError("the passphrase has a NUL")
    if not 1 <= len(key_id) <= MAX_KEY_ID:
        raise ValueError("the key id of a passphrase has 1 to %d bytes"
                         % MAX_KEY_ID)
    # The default limit on memory is below the 64 MiB that this takes.
    secret = hashlib.scrypt(
        passphrase, salt=b"countersign/1 passphrase" + lv(key_id),
        n=2 ** 16, r=8, p=2, dklen=32, maxmem=2 ** 27)
    return secret.hex().encode("ascii")


class Keyring:
    """The keys of a key directory, ``<key id>.key`` for each client."""

    def __init__(self, path: str, shared: bool = False) -> None:
        self._path = path
        self._shared = shared
        self._keys: Dict[bytes, Key] = {}
        for error in self.reload():
            raise error

    def __call__(self, key_id: bytes) -> Optional[Key]:
        return self._keys.get(key_id)

    def ids(self) -> List[bytes]:
        return sorted(self._keys)

    def reload(self) -> List[KeyFileError]:
        """Reads the directory again; returns the errors about its files.

        An id whose file is gone is no longer accepted.  A file that is at
        fault keeps the former key of its id.  A directory that cannot be read
        raises, and changes nothing.
        """
        found, failed, errors = read_directory(self._path, self._shared)
        keys = {}
        for key_id, pair in found.items():
            try:
                keys[key_id] = Key(pair.first, key_id, pair.accepted)
            except ValueError as error:
                failed[key_id] = KeyFileError(
                    os.path.join(os.fsencode(self._path), key_id + SUFFIX),
                    str(error))
        for key_id, failure in failed.items():
            errors.append(failure)
            if key_id in self._keys:
                keys[key_id] = self._keys[key_id]
        self._keys = keys
        return errors


# A key that nobody holds.  It makes an unknown key id cost the same work as a
# known one.
_DUMMY = Key(secrets.token_bytes(32))

KeyLookup = Union[Key, Callable[[bytes], Optional[Key]]]


# Messages, as pure functions (section 5)

def prologue(service: bytes, binding: bytes) -> bytes:
    """What both ends have to agree on and do not send (section 4)."""
    return lv(service) + lv(binding)


def header(role: bytes, mode: int) -> bytes:
    """The eight bytes that begin the first two messages."""
    if mode not in (HANDSHAKE_ONLY, RECORDS, ENCRYPT):
        raise ValueError("the mode is 0, 1 or 2")
    return NAME + VERSION + role + bytes([mode])


def make_f1(mode: int, server_nonce: bytes) -> bytes:
    """The server's challenge."""
    return header(SERVER, mode) + server_nonce


def make_f2_untagged(mode: int, key_id: bytes, client_nonce: bytes) -> bytes:
    """The client's answer, up to its proof."""
    return header(CLIENT, mode) + lv(key_id) + client_nonce


def f3_len(mode: int) -> int:
    return F3_LEN + (SHARE_LEN if mode == ENCRYPT else 0)


def denial(mode: int) -> bytes:
    return DENIED + bytes(f3_len(mode) - 1)


def client_proof(key: Key, agreed: bytes, f1: bytes,
                 f2_untagged: bytes) -> bytes:
    """Tc."""
    return mac(key.kc, agreed + f1 + f2_untagged)


def server_proof(key: Key, agreed: bytes, f1: bytes, f2: bytes,
                 share: bytes = b"") -> bytes:
    """Ts."""
    return mac(key.ks, agreed + f1 + f2 + ACCEPTED + share)


def session_secret(key: Key, agreed: bytes, f1: bytes, f2: bytes,
                   share: bytes = b"") -> bytes:
    """X."""
    return mac(key.kx, agreed + f1 + f2 + ACCEPTED + share)


class Session:
    """What a successful handshake leaves behind, the same at both ends.

    At a server, ``second`` says that the client used the second secret.
    """

    def __init__(self, secret: bytes, key_id: bytes, mode: int,
                 second: bool = False, shared: Optional[bytes] = None) -> None:
        self.key_id = key_id
        self.mode = mode
        self.second = second
        label = b"record "
        if mode == ENCRYPT:
            if shared is None:
                raise ValueError("mode 2 needs the result of the exchange")
            label = b"encrypt "
            secret = mac(secret, shared)  # Xe
        self._records = tuple(
            expand(secret, b"countersign/1 " + label + end, 32)
            for end in (b"client", b"server"))
        self._secret = secret if mode != ENCRYPT else expand(
            secret, b"countersign/1 encrypt export", 32)

    def __repr__(self) -> str:
        return "Session(key_id=%r, mode=%d)" % (self.key_id, self.mode)

    def export(self, label: bytes, context: bytes, length: int) -> bytes:
        """Key material for the application's own use (section 7)."""
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

    def record_keys(self) -> Tuple[bytes, ...]:
        """The keys, in mode 2 the first states: of records from client to
        server, and from server to client."""
        if self.mode == HANDSHAKE_ONLY:
            raise ValueError("this session has no records")
        return self._records


# The handshake on a socket (section 6)

# Dropping a socket with bytes unread makes a reset, which can destroy what was
# sent before.
LINGER_SECONDS = 1.0
LINGER_BYTES = 65536


_TOO_LONG = ("the handshake took too long; a peer that is silent may speak "
             "another protocol: check the port")


class _Wire:
    """Reads and writes messages under one deadline for all of them."""

    def __init__(self, sock: socket.socket, timeout: float) -> None:
        if not 0 < timeout < 2 ** 31:
            raise ValueError("a handshake has a timeout, in seconds")
        self._sock = sock
        self._before = sock.gettimeout()
        self._end = time.monotonic() + timeout

    def __enter__(self) -> _Wire:
        return self

    def __exit__(self, *_: object) -> None:
        # The deadline covers the handshake only.  If the socket is broken by
        # now, the original error is the one to report.
        with contextlib.suppress(OSError):
            self._sock.settimeout(self._before)

    def left(self) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimedOut(_TOO_LONG)
        return left

    def _attempt(self, operation: Callable[[Any], Any], argument: Any) -> Any:
        try:
            self._sock.settimeout(self.left())
            return operation(argument)
        except socket.timeout:
            raise TimedOut(_TOO_LONG) from None
        except ConnectionError as error:
            raise Closed("the connection broke") from error
        except OSError as error:
            raise TransportError("the socket failed: %s" % error) from error

    def read(self, length: int,
             check: Callable[[bytes], None] = lambda data: None) -> bytes:
        """Reads exactly this many bytes.  The next is application data.

        ``check`` sees the bytes so far after every read, so that a peer that
        cannot be right is refused at once.
        """
        data = b""
        while len(data) < length:
            more = self._attempt(self._sock.recv, length - len(data))
            if not more:
                raise Closed("the peer closed the connection")
            data += more
            check(data)
        return data

    def write(self, message: bytes) -> None:
        self._attempt(self._sock.sendall, message)

    def answer(self, message: bytes) -> None:
        """Writes what the peer should know of a failure, and lingers.

        The failure is decided: nothing that happens here changes it.
        """
        with contextlib.suppress(AuthenticationError, OSError):
            self.write(message)
            self._sock.shutdown(socket.SHUT_WR)
            self._end = min(self._end, time.monotonic() + LINGER_SECONDS)
            left = LINGER_BYTES
            while left > 0:
                data = self._attempt(self._sock.recv, left)
                if not data:
                    break
                left -= len(data)


def _check_header(data: bytes, expected: bytes) -> None:
    for position, (got, wanted) in enumerate(zip(data, expected)):
        if got != wanted:
            raise Incompatible({5: "version", 6: "role", MODE_AT: "mode"}
                               .get(position, "protocol"), got, wanted)


def _check_f2(data: bytes, expected: bytes) -> None:
    _check_header(data, expected)
    if len(data) > F2_ID_LEN_AT and data[F2_ID_LEN_AT] > MAX_KEY_ID:
        raise Malformed("the key id is too long")


def _check_f3(data: bytes) -> None:
    if data[:1] not in (ACCEPTED, DENIED):
        raise Malformed("the verdict is neither yes nor no")


def verify_client(key: Optional[Key], agreed: bytes, f1: bytes,
                  f2: bytes) -> Optional[Key]:
    """The key whose secret the client used, the second's too, or None.

    Without a match this makes two proofs, whatever keys there are.
    """
    for candidate in (key, key and key.accepted):
        proof = client_proof(candidate or _DUMMY, agreed, f1, f2[:-TAG_LEN])
        right = hmac.compare_digest(proof, f2[-TAG_LEN:])
        if candidate is not None and right:
            return candidate
    return None


def _run_server(wire: _Wire, keys: KeyLookup, agreed: bytes,
                mode: int) -> Session:
    f1 = make_f1(mode, draw())
    wire.write(f1)

    expected = header(CLIENT, mode)
    f2 = wire.read(F2_LEN, lambda data: _check_f2(data, expected))
    f2 += wire.read(f2[F2_ID_LEN_AT])
    key_id = f2[F2_ID_LEN_AT + 1:][:f2[F2_ID_LEN_AT]]
    if isinstance(keys, Key):
        key = keys if key_id == keys.key_id else None
    else:
        key = keys(key_id)
    wire.left()  # A look-up has no time of its own.
    used = verify_client(key, agreed, f1, f2)
    if used is None:
        wire.answer(denial(mode))
        raise ClientNotAuthentic(key_id, key is not None)

    # Nothing that depends on the secret exists before this point.
    share, shared = b"", None
    if mode == ENCRYPT:
        private = draw()
        share = share_of(private)
        shared = exchange(private, f2[-TAG_LEN - SHARE_LEN:-TAG_LEN])
        del private
        if shared is None:
            wire.answer(denial(mode))
            raise AllZeroSharedSecret("the client's share is a bad one")
    wire.write(ACCEPTED + share + server_proof(used, agreed, f1, f2, share))
    return Session(session_secret(used, agreed, f1, f2, share), key_id, mode,
                   used is not key, shared)


def _run_client(wire: _Wire, key: Key, agreed: bytes, mode: int) -> Session:
    expected = header(SERVER, mode)
    try:
        f1 = wire.read(F1_LEN, lambda data: _check_header(data, expected))
    except Incompatible as fault:
        if fault.what in ("version", "mode"):
            wire.answer(header(CLIENT, mode))
        raise

    private = draw()
    nonce = share_of(private) if mode == ENCRYPT else private
    f2 = make_f2_untagged(mode, key.key_id, nonce)
    f2 += client_proof(key, agreed, f1, f2)
    wire.write(f2)

    # A verdict counts only if it is complete, even if its rest is ignored.
    f3 = wire.read(f3_len(mode), _check_f3)
    share, proof = f3[1:-TAG_LEN], f3[-TAG_LEN:]
    if f3[:1] == DENIED:
        raise Denied("the server denied access")
    if not hmac.compare_digest(
            server_proof(key, agreed, f1, f2, share), proof):
        raise ServerNotAuthentic("the server is not authentic")
    shared = exchange(private, share) if mode == ENCRYPT else b""
    del private
    if shared is None:
        raise AllZeroSharedSecret("the server's share is a bad one")
    return Session(session_secret(key, agreed, f1, f2, share), key.key_id,
                   mode, shared=shared)


class _End:
    """What a client and a server have in common."""

    _role = b""

    def __init__(self, service: Text, timeout: float,
                 tls_exporter: Optional[bytes]) -> None:
        binding = b""
        if tls_exporter is not None:
            # A failed export must not pass for none.
            if len(tls_exporter) != EXPORTER_LEN:
                raise ValueError("a TLS exporter gives %d bytes here"
                                 % EXPORTER_LEN)
            binding = b"tls-exporter:" + tls_exporter
        self._agreed = prologue(octets(service), binding)
        self._timeout = timeout

    def _run(self, wire: _Wire, mode: int) -> Session:
        raise NotImplementedError

    def authenticate(self, sock: socket.socket) -> Session:
        """Authenticates both ends (mode 0).  The socket stays as it is."""
        return self.run(sock, HANDSHAKE_ONLY)

    def protect(self, sock: socket.socket) -> Stream:
        """Authenticates both ends, and protects what follows from alteration
        (mode 1)."""
        return Stream(sock, self.run(sock, RECORDS), self._role)

    def encrypt(self, sock: socket.socket) -> Stream:
        """Authenticates both ends, and encrypts what follows (mode 2)."""
        return Stream(sock, self.run(sock, ENCRYPT), self._role)

    def run(self, sock: socket.socket, mode: int) -> Session:
        """The handshake of a mode.  After an exception, close the socket."""
        if mode == ENCRYPT:
            require_cryptography()
        with _Wire(sock, self._timeout) as wire:
            return self._run(wire, mode)


class Client(_End):
    """Authenticates to servers that hold its key, under its key id.

    ``service`` names the server that it means.  ``timeout`` is the total of a
    handshake, in seconds.  ``tls_exporter`` binds it to one TLS connection:
    the 32 bytes that are exported for ``EXPORTER-Channel-Binding``.
    """

    _role = CLIENT

    def __init__(self, key: Key, service: Text = b"", *,
                 timeout: float = TIMEOUT,
                 tls_exporter: Optional[bytes] = None) -> None:
        super().__init__(service, timeout, tls_exporter)
        self._key = key

    def _run(self, wire: _Wire, mode: int) -> Session:
        return _run_client(wire, self._key, self._agreed, mode)


class Server(_End):
    """Authenticates clients.

    ``keys`` is one Key, a Keyring, or anything that is called with a key id
    and returns a Key or None.  The rest is as for a Client.
    """

    _role = SERVER

    def __init__(self, keys: KeyLookup, service: Text = b"", *,
                 timeout: float = TIMEOUT,
                 tls_exporter: Optional[bytes] = None) -> None:
        super().__init__(service, timeout, tls_exporter)
        self._keys = keys

    def _run(self, wire: _Wire, mode: int) -> Session:
        return _run_server(wire, self._keys, self._agreed, mode)


# Records (section 8)

class _Direction:
    """The keys and the numbers of one direction.

    In mode 2 ``secret`` is the state of the step of ``seq``, which is not 0 in
    tests only.
    """

    def __init__(self, secret: bytes, mode: int = RECORDS,
                 seq: int = 0) -> None:
        self._mode = mode
        self.seq = seq
        self.closed = False
        self._key, self._next = secret, secret
        self._step = seq >> STEP_BITS
        if mode == ENCRYPT:
            require_cryptography()
            self._take_step()

    def _take_step(self) -> None:
        state = self._next
        self._key = expand(state, b"countersign/1 encrypt key", 32)
        self._next = expand(state, b"countersign/1 encrypt next", 32)

    def _advance(self) -> None:
        self.seq += 1
        if self._mode == ENCRYPT and self.seq >> STEP_BITS != self._step:
            self._step += 1
            self._take_step()

    def _tag(self, body: bytes) -> bytes:
        message = struct.pack(">Q", self.seq) + body
        return mac(self._key, message)[:RECORD_TAG_LEN]

    def _nonce(self) -> bytes:
        return struct.pack(">IQ", 0, self.seq)


class Sealer(_Direction):
    """Makes the records of one direction."""

    def seal(self, payload: bytes) -> bytes:
        """A data record; an empty one would be taken for the close."""
        if not 1 <= len(payload) <= MAX_PAYLOAD:
            raise ValueError("a payload has 1 to %d bytes" % MAX_PAYLOAD)
        return self._record(payload)

    def close(self) -> bytes:
        """The last record of this direction."""
        record = self._record(b"")
        self.closed = True
        return record

    def _record(self, payload: bytes) -> bytes:
        if self.closed:
            raise ValueError("this direction is closed")
        if self.seq >= LAST_SEQ:
            raise NumbersUsedUp("the sequence numbers are used up")
        length = struct.pack(">H", len(payload))
        if self._mode == ENCRYPT:
            sealed = AESGCM(self._key).encrypt(self._nonce(), payload, length)
            record = length + sealed
        else:
            record = length + payload + self._tag(length + payload)
        self._advance()
        return record


class Opener(_Direction):
    """Verifies the records of one direction."""

    failed = False

    def remaining(self, length_bytes: bytes) -> int:
        """How many bytes follow the first two of a record."""
        length: int = struct.unpack(">H", length_bytes)[0]
        if length > MAX_PAYLOAD:
            self._fail("bad length",
                       "a record has at most %d bytes" % MAX_PAYLOAD)
        return length + RECORD_TAG_LEN

    def open(self, record: bytes) -> bytes:
        """The payload of a whole record; b"" is the close.

        A stream that ends while ``closed`` is false was truncated.
        """
        if self.failed:
            raise BadRecord("bad tag", "the connection has failed already")
        if self.closed:
            return b""
        if self.seq >= LAST_SEQ:
            raise NumbersUsedUp("the sequence numbers are used up")
        if len(record) < 2 or len(record) - 2 != self.remaining(record[:2]):
            self._fail("bad length", "it is another than the record says")
        payload = self._verified(record)
        if payload is None:
            self._fail("bad tag", "the record is not authentic")
        self._advance()
        self.closed = not payload
        return payload

    def _verified(self, record: bytes) -> Optional[bytes]:
        if self._mode == ENCRYPT:
            try:
                return AESGCM(self._key).decrypt(
                    self._nonce(), record[2:], record[:2])
            except InvalidTag:
                return None
        body, tag = record[:-RECORD_TAG_LEN], record[-RECORD_TAG_LEN:]
        right = hmac.compare_digest(self._tag(body), tag)
        return body[2:] if right else None

    def _fail(self, outcome: str, reason: str) -> NoReturn:
        self.failed = True
        raise BadRecord(outcome, reason)


class Stream:
    """A socket of records: ``recv`` and ``sendall`` as a socket has them.

    One thread may read while another writes.  In a ``with`` statement the
    stream is closed at the end, and after an exception the socket is dropped,
    so that the peer sees a stream that was cut.
    """

    def __init__(self, sock: socket.socket, session: Session,
                 role: bytes) -> None:
        to_server, to_client = session.record_keys()
        out, into = ((to_server, to_client) if role == CLIENT
                     else (to_client, to_server))
        self.session = session
        self._sock = sock
        self._sealer = Sealer(out, session.mode)
        self._opener = Opener(into, session.mode)
        self._received = b""  # A part of a record.
        self._payload = b""
        self._sending = threading.Lock()
        self._broken = False

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._sock.close()

    def settimeout(self, timeout: Optional[float]) -> None:
        """Limits each wait of ``recv`` and ``sendall``, in seconds."""
        self._sock.settimeout(timeout)

    def recv(self, size: int = 65536) -> bytes:
        """1 to ``size`` bytes, or b"" at the verified end of the data.

        After a timeout, the next call goes on.
        """
        if not self._payload and not self._opener.closed:
            self._payload = self._next_payload()
        payload, self._payload = self._payload[:size], self._payload[size:]
        return payload

    def sendall(self, data: bytes) -> None:
        """Sends all of it.  A failure or a timeout ends this direction."""
        for start in range(0, len(data), MAX_PAYLOAD):
            payload = bytes(data[start:start + MAX_PAYLOAD])
            self._send(self._sealer.seal, payload)

    def shutdown(self) -> None:
        """Ends this direction.  The peer may send on."""
        self._send(self._sealer.close)
        self._sock.shutdown(socket.SHUT_WR)

    def close(self, timeout: float = TIMEOUT) -> None:
        """Ends this direction, discards the rest of the other, and closes
        the socket.

        A socket that is closed with bytes unread is reset, and a reset can
        destroy what was sent.
        """
        try:
            if not self._sealer.closed:
                self.shutdown()
            end = time.monotonic() + timeout
            while not self._opener.closed:
                self._sock.settimeout(max(end - time.monotonic(), 0.001))
                self._payload = self._next_payload()
        finally:
            self._sock.close()

    def _send(self, make: Callable[..., bytes], *payload: bytes) -> None:
        # Sealed and sent as one, so that records leave in their order.
        with self._sending:
            if self._opener.failed or self._broken:
                raise ValueError("this direction has failed")
            record = make(*payload)
            self._broken = True
            self._sock.sendall(record)
            self._broken = False

    def _next_payload(self) -> bytes:
        if self._opener.failed:
            raise BadRecord("bad tag", "the connection has failed already")
        self._fill(2)
        length = self._received[:2]
        self._fill(2 + self._opener.remaining(length))
        record, self._received = self._received, b""
        return self._opener.open(record)

    def _fill(self, length: int) -> None:
        while len(self._received) < length:
            try:
                more = self._sock.recv(length - len(self._received))
            except ConnectionError:
                more = b""
            if not more:
                raise Truncated("truncated: there was no close")
            self._received += more


# Key files (section 3).  What follows yields secrets and knows nothing of what
# they are used for.  Owners and modes are checked where the system has them.

MAX_FILE = 65536
SUFFIX = b".key"
ACCEPT = b"accept:"

# A file that changes is read again, up to this often.  One that changed less
# than AT_REST seconds ago may still be written: timestamps have the
# granularity of a kernel tick.
ATTEMPTS = 50
AT_REST = 0.02

ROOT = 0
HAS_OWNERS = hasattr(os, "getuid")


class KeyFileError(Exception):
    """A key file is refused.  It shows the path, escaped, and no content."""

    def __init__(self, path: Union[str, bytes], reason: str) -> None:
        super().__init__("%s: %s" % (printable(os.fsencode(path)), reason))
        self.path = path


class MalformedKeyFile(ValueError):
    """What was found in the content of a key file, at which offset."""

    def __init__(self, found: str, offset: int) -> None:
        super().__init__("at byte %d it has: %s" % (offset, found))
        self.found = found
        self.offset = offset


class Secrets(NamedTuple):
    """The first secret, and the accepted one or None."""

    first: bytes
    accepted: Optional[bytes]


@contextlib.contextmanager
def naming(path: Union[str, bytes]) -> Iterator[None]:
    """Puts the path into the errors that are raised here."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise KeyFileError(path, reason) from error


# Content of key files

SIGNATURES = ((b"\xef\xbb\xbf", "byte order mark"), (b"\xff\xfe", "utf-16"),
              (b"\xfe\xff", "utf-16"), (b"-----BEGIN", "pem"))


def parse_key_file(content: bytes) -> Secrets:
    """The secrets of a key file."""
    for signature, found in SIGNATURES:
        if content.startswith(signature):
            raise MalformedKeyFile(found, 0)
    first, second_at = _line(content, 0)
    if ACCEPT in first:
        raise MalformedKeyFile("accept first", first.index(ACCEPT))
    _check(first, 0)
    if second_at == len(content):
        return Secrets(first, None)

    second, third_at = _line(content, second_at)
    if not second:
        raise MalformedKeyFile("empty line", second_at)
    if not second.startswith(ACCEPT):
        raise MalformedKeyFile("second line", second_at)
    accepted = second[len(ACCEPT):]
    _check(accepted, second_at + len(ACCEPT))
    if third_at != len(content):
        raise MalformedKeyFile("third line", third_at)
    return Secrets(first, accepted)


def _line(content: bytes, start: int) -> Tuple[bytes, int]:
    """The line that starts here, without LF or CRLF, and the next start."""
    end = content.find(b"\n", start)
    if end < 0:
        return content[start:], len(content)
    line = content[start:end]
    return line[:-1] if line.endswith(b"\r") else line, end + 1


def _check(secret: bytes, offset: int) -> None:
    if not secret:
        raise MalformedKeyFile("nothing", offset)
    for at, byte in enumerate(secret, offset):
        if not 0x21 <= byte <= 0x7e:
            raise MalformedKeyFile(_invalid(byte), at)
    if secret[0] == secret[-1] and secret[0] in b"\"'":
        raise MalformedKeyFile("quoted", offset)


def _invalid(byte: int) -> str:
    if byte == 0:
        return "nul"
    if byte in b" \t":
        return "space"
    return "control" if byte <= 0x7f else "not ascii"


# One key file

def read_key_file(path: Union[str, bytes], shared: bool = False,
                  owners: Optional[Set[int]] = None) -> Secrets:
    """The secrets of the key file at this path.

    ``shared`` permits a file that anybody may read.  ``owners`` are the users
    who may own it, if that matters.
    """
    with naming(path):
        return parse_key_file(_read_at_rest(path, shared, owners))


def _read_at_rest(path: Union[str, bytes], shared: bool,
                  owners: Optional[Set[int]]) -> bytes:
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(AT_REST / 4)
        with _open_regular(path) as file:
            before = os.fstat(file.fileno())
            _require_regular(before)
            _check_permissions(before, shared)
            _check_owner(before, owners)
            content: bytes = file.read(MAX_FILE + 1)
            after = os.fstat(file.fileno())
        if len(content) > MAX_FILE:
            raise ValueError("it has more than %d bytes" % MAX_FILE)
        if (_state(before) == _state(after) and len(content) == after.st_size
                and _is_at_rest(after)):
            return content
    raise ValueError("it kept changing; write a new file beside it and "
                     "rename that")


def _open_regular(path: Union[str, bytes]) -> Any:
    # Opening a FIFO waits for a writer, and opening a device may do anything.
    # The flag covers a file that is replaced by a FIFO at this very moment.
    _require_regular(os.stat(path))
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(
        os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    return os.fdopen(os.open(path, flags), "rb", buffering=0)


def _require_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no regular file")


def _state(status: os.stat_result) -> Tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size,
            status.st_mtime_ns, status.st_ctime_ns)


def _is_at_rest(status: os.stat_result) -> bool:
    # A writer may set the time of the content back, but not the other one.
    now = time.time()
    return all(abs(now - then) >= AT_REST
               for then in (status.st_mtime, status.st_ctime))


def _check_directory(status: os.stat_result) -> None:
    _check_bits(status, 0o022, "write",
                stat.S_IMODE(status.st_mode) & ~0o022 | 0o500)


def _check_permissions(status: os.stat_result, shared: bool) -> None:
    # systemd and Kubernetes provide files of root that a group may read.
    most = 0o644 if shared else 0o640 if status.st_uid == ROOT else 0o600
    allowed = status.st_mode & most | 0o400
    _check_bits(status, 0o022, "write", allowed)
    _check_bits(status, 0o044 & ~most, "read", allowed)


def _check_bits(status: os.stat_result, forbidden: int, verb: str,
                allowed: int) -> None:
    if HAS_OWNERS and status.st_mode & forbidden:
        raise ValueError("others than its owner may %s it (mode %04o); "
                         "chmod %04o" % (verb, stat.S_IMODE(status.st_mode),
                                         allowed))


def _check_owner(status: os.stat_result,
                 owners: Optional[Set[int]]) -> None:
    if HAS_OWNERS and owners is not None and status.st_uid not in owners:
        raise ValueError("it belongs to user %d, and neither to root nor to "
                         "the owner of the directory" % status.st_uid)


# Key directories

Files = Tuple[Dict[bytes, Secrets], Dict[bytes, KeyFileError],
              List[KeyFileError]]


def read_directory(path: str, shared: bool = False) -> Files:
    """The key files of a directory: (secrets by key id, errors by key id,
    errors about names that cannot be key ids).

    An error about the directory itself is raised.
    """
    for _ in range(ATTEMPTS):
        with naming(path):
            files, owners, identity = _resolve(path)
            error = None
            try:
                result = _read_entries(files, owners, shared)
            except OSError as failure:
                error = failure
            # A version that was replaced may be removed while it is read.
            if _resolve(path)[::2] == (files, identity):
                if error:
                    raise error
                return result
    raise KeyFileError(path, "it kept changing")


def _resolve(path: str) -> Tuple[bytes, Set[int], Tuple[int, int]]:
    """Where the files are, and who may own them.

    A mounted Kubernetes secret has them behind a link, ``..data``.  Anybody
    may write the mount, so the owners of the links say who made them.
    """
    directory = os.path.realpath(os.fsencode(path))
    data = os.path.join(directory, b"..data")
    if os.path.islink(data):
        mount = os.stat(directory)
        if not mount.st_mode & stat.S_ISVTX:
            _check_directory(mount)
        owners = {ROOT, mount.st_uid}
        _check_links(data, owners)
        directory = os.path.realpath(data)
        _check_owner(os.stat(directory), owners)
    status = os.stat(directory)
    _check_directory(status)
    return directory, {ROOT, status.st_uid}, (status.st_dev, status.st_ino)


def _read_entries(directory: bytes, owners: Set[int], shared: bool) -> Files:
    found: Dict[bytes, Secrets] = {}
    errors: Dict[bytes, KeyFileError] = {}
    names: List[KeyFileError] = []
    for name in os.listdir(directory):
        if not name.endswith(SUFFIX) or name.startswith(b"."):
            continue
        path = os.path.join(directory, name)
        key_id = name[:-len(SUFFIX)]
        if len(key_id) > 64:
            names.append(KeyFileError(path, "the name is no key id: it has "
                                      "more than 64 bytes"))
            continue
        try:
            with naming(path):
                _check_links(path, owners)
            found[key_id] = read_key_file(path, shared, owners)
        except KeyFileError as error:
            if not _is_gone(path):
                errors[key_id] = error
    return found, errors, names


def _is_gone(path: bytes) -> bool:
    """Whether a file was removed after the directory was read.

    One that cannot be looked at is not gone.
    """
    try:
        os.lstat(path)
    except FileNotFoundError:
        return True
    except OSError:
        pass
    return False


def _check_links(path: bytes, owners: Set[int]) -> None:
    """Whoever owns a link on the way to a file decides which file it is."""
    if not HAS_OWNERS:
        return
    done, rest, links = b"/", path.split(b"/"), 0
    while rest:
        part = rest.pop(0)
        if part in (b"", b"."):
            continue
        if part == b"..":
            done = os.path.dirname(done)
            continue
        here = os.path.join(done, part)
        status = os.lstat(here)
        if not stat.S_ISLNK(status.st_mode):
            done = here
            continue
        _check_owner(status, owners)
        links += 1
        if links > 40:
            raise ValueError("too many links lead to it")
        target = os.readlink(here)
        done = b"/" if target.startswith(b"/") else done
        rest = target.split(b"/") + rest


# The command: an echo, for trying it and for tests

def address(text: str) -> Tuple[str, int]:
    """(host, port) of HOST:PORT."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError("%r is not HOST:PORT" % text)
    return host.strip("[]"), int(port)


def listen(where: Tuple[str, int]) -> socket.socket:
    """A listening socket, announced on stdout with its real port."""
    family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    listener = socket.create_server(where, family=family)
    host, port = listener.getsockname()[:2]
    if family == socket.AF_INET6:
        host = "[%s]" % host
    print("listening on %s:%d" % (host, port), flush=True)
    return listener


def say(text: str) -> None:
    """A line on stderr, at once."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


class Bare:
    """A socket after mode 0, in the words of a Stream."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.recv, self.sendall = sock.recv, sock.sendall

    def shutdown(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)


def channel(end: _End, sock: socket.socket,
            mode: int) -> Tuple[Session, Union[Bare, Stream]]:
    session = end.run(sock, mode)
    if mode == HANDSHAKE_ONLY:
        return session, Bare(sock)
    return session, Stream(sock, session, end._role)


def serve_one(server: Server, sock: socket.socket, mode: int) -> bool:
    """Authenticates and echoes; false if either failed."""
    with sock:
        try:
            session, stream = channel(server, sock, mode)
        except (AuthenticationError, OSError) as error:
            say("refused: %s" % error)
            return False
        place = " by its second secret" if session.second else ""
        say(("accepted " + printable(session.key_id)).rstrip() + place)
        sock.settimeout(TIMEOUT)
        try:
            while True:
                data = stream.recv(65536)
                if not data:
                    stream.shutdown()
                    return True
                stream.sendall(data)
        except (AuthenticationError, OSError, ValueError) as error:
            say("ended: %s" % error)
            return False


def command_serve(options: argparse.Namespace) -> int:
    keys: KeyLookup
    if options.key_dir is not None:
        keys = Keyring(options.key_dir)
    else:
        keys = Key.from_file(options.key_file, os.fsencode(options.key_id))
    server = Server(keys, os.fsencode(options.service), timeout=5.0)
    mode = VERBS.index(options.verb)
    outcomes: List[bool] = []
    threads = []

    def run(sock: socket.socket) -> None:
        outcomes.append(serve_one(server, sock, mode))

    with listen(options.listen) as listener:
        # A thread each, so that a client that is silent holds up no other.
        for _ in range(options.connections):
            thread = threading.Thread(target=run, args=[listener.accept()[0]])
            thread.start()
            threads.append(thread)
    for thread in threads:
        thread.join()
    return 0 if all(outcomes) else 1


def converse(stream: Union[Bare, Stream], message: bytes) -> bytes:
    """Sends a message, and returns what comes back."""
    def send() -> None:
        # What the reader meets tells more than a write that fails.
        with contextlib.suppress(OSError, ValueError):
            stream.sendall(message)
            stream.shutdown()

    # Both at once, or two ends with full buffers would wait for each other.
    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    answer = b""
    while True:
        data = stream.recv(65536)
        if not data:
            break
        answer += data
    sender.join()
    return answer


def connected(address: Tuple[str, int]) -> socket.socket:
    try:
        return socket.create_connection(address, TIMEOUT)
    except OSError as error:
        host, port = address
        raise OSError(f"could not connect to {host}:{port}: {error}; start "
                      "the server, or correct the address") from error


def command_connect(options: argparse.Namespace) -> int:
    key = Key.from_file(options.key_file, os.fsencode(options.key_id))
    client = Client(key, os.fsencode(options.service), timeout=5.0)
    message = (sys.stdin.buffer.read() if options.message == "-"
               else os.fsencode(options.message))
    with connected(options.connect) as sock:
        _, stream = channel(client, sock, VERBS.index(options.verb))
        answer = converse(stream, message)
    sys.stdout.buffer.write(answer + b"\n")
    sys.stdout.buffer.flush()
    if answer != message:
        say("The answer is not the message.")
        return 1
    return 0


def command_fingerprint(options: argparse.Namespace) -> int:
    key = Key.from_file(options.file)
    print(key.fingerprint())
    if key.accepted is not None:
        print("accept:" + key.accepted.fingerprint())
    return 0


def command_vectors(options: argparse.Namespace) -> int:
    vectors = importlib.import_module("vectors")

    # Through the buffer, so that line ends are LF on every platform.
    text = vectors.format_vectors(options.kind)
    sys.stdout.buffer.write(text.encode("ascii"))
    sys.stdout.buffer.flush()
    return 0


def command_check(options: argparse.Namespace) -> int:
    vectors = importlib.import_module("vectors")

    return 0 if vectors.check_file(options.file) else 1


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="countersign.py",
        description="The countersign protocol, version 1, in Python.")
    commands = parser.add_subparsers(dest="command", required=True)

    # These two need vectors.py, which is not installed.
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
        command.add_argument("--verb", choices=VERBS, default=VERBS[0])
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
        result: int = options.run(options)
        return result
    except (AuthenticationError, ImportError, KeyFileError, OSError,
            ValueError) as error:
        say(f"{error}.")
        return 1


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    # The module that vectors.py imports, so that there is one of each class.
    import countersign
    sys.exit(countersign.main())
