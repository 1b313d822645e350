"""Records: what one end is sent behind a handshake, and what comes of it.

A case is a function of the direction that ends at the end under test.
"""

import struct
from collections import namedtuple

from exchanges import (
    CLIENT, KEY_ID, SECRET, SERVER, SERVICE, fixed)
from protocol import H, Handshake, flip, share, x25519

CLOSE, TRUNCATED = "close", "truncated"
BAD_TAG, BAD_LENGTH = "bad tag", "bad length"

# ``skip`` records were received before.
Case = namedtuple("Case", "role mode name section expect skip delivers made")


class Direction:
    """The records that one end sends."""

    def __init__(self, session, sender, receiver):
        self.session, self.sender, self.receiver = session, sender, receiver

    def record(self, seq, payload, sender=None, **instead):
        return self.session.record(sender or self.sender, seq, payload,
                                   **instead)

    def close(self, seq):
        return self.record(seq, b"")


def other_session(mode):
    return Handshake(mode, SECRET, KEY_ID).session(b"", fixed("another Z"))


def both_ends(mode, role):
    def case(name, expect, delivers, made, section="8.3", skip=0):
        return Case(role, mode, name, section, expect, skip, delivers, made)

    def forged(name, made, delivers=b"", section="8.%d" % mode, skip=0):
        return case(name, BAD_TAG, delivers, made, section, skip)

    def first(d):
        return d.record(0, b"first")

    yield case("the close alone", CLOSE, b"", lambda d: d.close(0))
    yield case("a record and the close", CLOSE, b"first",
               lambda d: first(d) + d.close(1))
    yield case("records of 1, 15, 16, 17 and 256 octets", CLOSE,
               bytes(range(1)) + bytes(range(15)) + bytes(range(16))
               + bytes(range(17)) + bytes(range(256)),
               lambda d: b"".join(d.record(seq, bytes(range(n))) for seq, n in
                                  enumerate((1, 15, 16, 17, 256)))
               + d.close(5), "8")
    if role == SERVER:
        whole = bytes(i & 255 for i in range(16384))
        yield case("a record of 16384 octets", CLOSE, whole,
                   lambda d: d.record(0, whole) + d.close(1), "8")
    for name, more in (("a record", lambda d: d.record(2, b"more")),
                       ("another close", lambda d: d.close(2)),
                       ("the close again", lambda d: d.close(1)),
                       ("octets that are no record", lambda d: b"\xff" * 40)):
        yield case("behind the close: " + name, CLOSE, b"first",
                   lambda d, more=more: first(d) + d.close(1) + more(d))

    yield case("nothing", TRUNCATED, b"", lambda d: b"")
    yield case("a record and no close", TRUNCATED, b"first", first)
    yield case("two records and no close", TRUNCATED, b"firstsecond",
               lambda d: first(d) + d.record(1, b"second"))
    for length in (1, 2, 3, 7, 22):
        yield case("a record cut after %d octets" % length, TRUNCATED, b"",
                   lambda d, n=length: first(d)[:n])
    for length in (1, 2, 17):
        yield case("a close cut after %d octets" % length, TRUNCATED, b"first",
                   lambda d, n=length: first(d) + d.close(1)[:n])

    for n in (16385, 16386, 32768, 65535):
        yield case("n = %d, and no more" % n, BAD_LENGTH, b"first",
                   lambda d, n=n: first(d) + struct.pack(">H", n))
    if mode == 1 and role == SERVER:
        yield case("n = 16385 with a right tag", BAD_LENGTH, b"",
                   lambda d: d.record(0, bytes(16385)))
    yield case("n with its octets swapped", BAD_LENGTH, b"",
               lambda d: b"\x50\0" + d.record(0, bytes(80))[2:])

    for at in (0, 7, 8, 15):
        yield forged("octet %d of a tag" % at,
                     lambda d, at=at: flip(first(d), at - 16) + d.close(1),
                     section="8.3")
    yield forged("the last bit of a tag", lambda d: flip(first(d), -1, 0x80),
                 section="8.3")
    yield forged("a tag of zeros", lambda d: first(d)[:-16] + bytes(16),
                 section="8.3")
    yield forged("the tag of a close", lambda d: flip(d.close(0), -1),
                 section="8.3")
    yield forged("a close of zeros", lambda d: bytes(18), section="8.3")
    yield forged("the first octet of a payload", lambda d: flip(first(d), 2))
    yield forged("the last octet of a payload", lambda d: flip(first(d), 6))
    yield forged("n, one less", lambda d: b"\0\4" + first(d)[2:])
    yield forged("n, one more",
                 lambda d: b"\0\6" + first(d)[2:] + d.close(1))
    yield forged("n = 0, and the payload cut out",
                 lambda d: b"\0\0" + first(d)[-16:])
    yield forged("a close whose n says one octet",
                 lambda d: b"\0\1" + d.close(0)[2:] + bytes(1))
    yield forged("a forged record behind a right one",
                 lambda d: first(d) + flip(d.record(1, b"second"), -1),
                 b"first", "8.3")
    yield forged("right records behind a forged one", lambda d:
                 flip(first(d), -1) + first(d) + d.close(1), section="8.3")

    yield forged("a record that is left out",
                 lambda d: d.record(1, b"second"), section="8")
    yield forged("a record that comes twice",
                 lambda d: first(d) + first(d), b"first", "8")
    yield forged("two records in the wrong order",
                 lambda d: d.record(1, b"second") + first(d), section="8")
    yield forged("numbers that begin with 1", lambda d: d.close(1),
                 section="8")
    yield forged("a close with the number of the record before it",
                 lambda d: first(d) + d.close(0), b"first")
    yield forged("a close that skips a number",
                 lambda d: first(d) + d.close(2), b"first")
    yield forged("numbers that start again",
                 lambda d: first(d) + d.record(1, b"second") + first(d),
                 b"firstsecond", "8")
    yield forged("the number 2^32", lambda d: d.record(1 << 32, b"first",
                                                          step=0),
                 section="8")
    yield forged("the number 0, with its octets swapped for 1", lambda d:
                 first(d) + d.record(1 << 56, b"second", step=0), b"first", "8")

    yield forged("a record that is sent back",
                 lambda d: d.record(0, b"first", d.receiver))
    yield forged("a close that is sent back",
                 lambda d: d.record(0, b"", d.receiver))
    yield forged("a record of another session",
                 lambda d: other_session(mode).record(d.sender, 0, b"first"))
    yield forged("octets of the application, without records",
                 lambda d: b"\0\5hello" + fixed("no tag", 16), section="8")

    if mode == 1:
        yield forged("a payload that is encrypted", lambda d: other_session(
            2).record(d.sender, 0, b"first"))
        yield forged("a tag without n",
                     lambda d: d.record(0, b"first", ad=b""))
        yield forged("a tag over another n",
                     lambda d: d.record(0, b"first", ad=b"\0\4"))
        yield forged("a tag without a number",
                     lambda d: d.record(0, b"first", nonce=b""))
        yield forged("a tag over a number in little-endian",
                     lambda d: first(d) + d.record(1, b"second", nonce=(
                         struct.pack("<Q", 1))), b"first")
        yield forged("the second half of a tag", lambda d: first(d)[:-16] + H(
            d.session.state(d.sender, 0), bytes(8), first(d)[:-16])[16:])
        return

    yield forged("a record of mode 1", lambda d: other_session(1).record(
        d.sender, 0, b"first"))
    yield forged("no associated data",
                 lambda d: d.record(0, b"first", ad=b""))
    yield forged("n and the payload's start as associated data",
                 lambda d: d.record(0, b"first", ad=b"\0\5f"))
    yield forged("a nonce with seq in front",
                 lambda d: first(d) + d.record(1, b"second", nonce=struct.pack(
                     ">QI", 1, 0)), b"first")
    yield forged("a nonce with seq in little-endian",
                 lambda d: first(d) + d.record(1, b"second", nonce=bytes(4)
                                               + struct.pack("<Q", 1)),
                 b"first")
    yield forged("a nonce that is zero for ever",
                 lambda d: first(d) + d.record(1, b"second", nonce=bytes(12)),
                 b"first")
    yield forged("the key of step 1 at the start",
                 lambda d: d.record(0, b"first", step=1))
    if role == CLIENT:
        return

    edge = 65536
    yield case("the last record of step 0, the first of step 1, the close",
               CLOSE, b"lastnext", lambda d: d.record(edge - 1, b"last")
               + d.record(edge, b"next") + d.close(edge + 1), "8.2", edge - 1)
    yield case("a close as the last record of step 0", CLOSE, b"",
               lambda d: d.close(edge - 1), "8.2", edge - 1)
    yield case("a close as the first record of step 1", CLOSE, b"",
               lambda d: d.close(edge), "8.2", edge)
    yield case("the end between two steps", TRUNCATED, b"last",
               lambda d: d.record(edge - 1, b"last"), "8.3", edge - 1)
    yield forged("the key of step 1 one record too early",
                 lambda d: d.record(edge - 1, b"last", step=1), skip=edge - 1)
    yield forged("the key of step 0 in step 1",
                 lambda d: d.record(edge, b"next", step=0), skip=edge)
    yield forged("the key of step 2 in step 1",
                 lambda d: d.record(edge, b"next", step=2), skip=edge)
    yield forged("a nonce that starts again with a step", lambda d: d.record(
        edge, b"next", nonce=bytes(12)), skip=edge)
    yield forged("numbers that start again with a step",
                 lambda d: d.record(0, b"next"), skip=edge, section="8")


def cases():
    for mode in (1, 2):
        for role in (CLIENT, SERVER):
            yield from both_ends(mode, role)


def fields(case):
    """The fields of a case, in the session of one handshake for each mode."""
    ns, nc = fixed("Ns of the records"), fixed("Nc of the records")
    ec, es = fixed("ec of the records"), fixed("es of the records")
    encrypts = case.mode == 2
    h = Handshake(case.mode, SECRET, KEY_ID, SERVICE)
    h.f1 = h.challenge(ns)
    h.f2 = h.response(share(ec) if encrypts else nc)
    gs = share(es) if encrypts else b""
    session = h.session(gs, x25519(es, h.nc) if encrypts else None)
    ends = [b"client", b"server"]
    sender, receiver = ends if case.role == SERVER else ends[::-1]
    direction = Direction(session, sender, receiver)

    yield "name", "records to a %s, mode %d: %s" % (
        case.role, case.mode, case.name)
    yield "section", case.section
    yield "expect", case.expect
    yield "role", case.role
    yield "mode", str(case.mode)
    draws = [("client-draw", ec if encrypts else nc), ("server-draw", ns)]
    if encrypts:
        draws.append(("server-second-draw", es))
    for field, octets in [("secret", SECRET), ("key-id", KEY_ID),
                          ("service", SERVICE), *draws]:
        yield field, octets.hex()
    yield "skip", str(case.skip)
    yield "state", session.state(sender, case.skip >> 16).hex()
    yield "receives", case.made(direction).hex()
    yield "delivers", case.delivers.hex()
