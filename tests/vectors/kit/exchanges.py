"""Handshakes: what one end is sent, and what has to come of it.

A case for a client has the peer's F1 and F3, and a case for a server the
peer's F2.  They are functions of the handshake, so that the kit can play them
with fixed nonces, for the files, and with a peer's own ones over a socket.
"""

import hashlib
from collections import namedtuple
from types import SimpleNamespace

from protocol import (
    H, P25519, Handshake, Keys, expand, flip, lv, share, x25519)

CLIENT, SERVER = "client", "server"

FOREIGN, VERSION = "foreign protocol", "other version"
ROLE, MODE = "wrong role", "wrong mode"
MALFORMED, CLOSED = "malformed", "closed"
DENIED, NOT_AUTHENTIC = "denied", "server not authentic"
UNKNOWN, REJECTED = "unknown key id", "proof rejected"
ZERO, ACCEPTED = "all-zero shared secret", "accepted"

# ``end`` is what the end under test is given, where it is not the usual.
# ``first`` makes F1 or F2, and ``then`` makes F3, or is None where F1 is at
# fault.  A server has no ``then``.  ``left`` counts the octets that the end
# leaves to the application.
Case = namedtuple("Case", "role mode name section expect end first then left")


def fixed(label, length=32):
    """Octets that look random and are always the same."""
    digest = hashlib.sha256(b"countersign kit, " + label.encode()).digest()
    return expand(digest, b"", length)


def text(label):
    return fixed(label).hex().encode("ascii")


SECRET, OTHER = text("the secret"), text("another secret")
KEY_ID, SERVICE = b"worker-7", b"billing/2"
# The private key of the kit's own end in mode 2.
PRIVATE = fixed("a private key")
BINDING = b"tls-exporter:" + fixed("the exporter of a TLS connection")
USUAL = dict(secret=SECRET, accepted=None, key_id=KEY_ID, service=SERVICE,
             binding=b"")


def begin(case):
    """The handshake, and the end under test with what it is given."""
    end = SimpleNamespace(**{**USUAL, **case.end})
    return end, Handshake(
        case.mode, end.secret, end.key_id, end.service, end.binding)


# Shares whose product with any private key is zero: 0, 1, two of order 8, and
# the same as 0 and 1 and p - 1 in other encodings.
SMALL = [
    ("0", bytes(32)),
    ("1", b"\1" + bytes(31)),
    ("of order 8", bytes.fromhex(
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")),
    ("of order 8, the other one", bytes.fromhex(
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157")),
    ("p - 1", (P25519 - 1).to_bytes(32, "little")),
    ("p", P25519.to_bytes(32, "little")),
    ("p + 1", (P25519 + 1).to_bytes(32, "little")),
    ("0 with the most significant bit", bytes(31) + b"\x80"),
]

STRANGERS = [
    ("HTTP", b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"),
    ("an HTTP server", b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"),
    ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n"),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)),
    ("40 octets 00", bytes(40)),
]

# The octets of a header, and what the wrong one is called.
FAULTS = [(at, FOREIGN) for at in range(5)] + [
    (5, VERSION), (6, ROLE), (7, MODE)]


def headers(right, mode, own_letter):
    """(name, octets, outcome) of a flight whose header is at fault.

    ``right`` makes the flight.
    """
    for at, outcome in FAULTS:
        yield ("bit 0 of octet %d" % at,
               lambda h, at=at: flip(right(h), at), outcome)
    yield "lower-case name", lambda h: b"csign" + right(h)[5:], FOREIGN
    yield "version 0", lambda h: b"CSIGN0" + right(h)[6:], VERSION
    yield "version 00", lambda h: b"CSIGN\0" + right(h)[6:], VERSION
    yield "version 2", lambda h: b"CSIGN2" + right(h)[6:], VERSION
    yield ("the reader's own letter",
           lambda h: right(h)[:6] + own_letter + right(h)[7:], ROLE)
    yield ("a letter in lower case",
           lambda h: right(h)[:6] + right(h)[6:7].lower() + right(h)[7:], ROLE)
    for other in sorted({0, 1, 2, 3, 0x30 + mode, 0xff} - {mode}):
        yield ("mode octet %02x" % other,
               lambda h, other=other: flip(right(h), 7, mode ^ other), MODE)
    for both, outcome in (((4, 5), FOREIGN), ((5, 6), VERSION),
                          ((5, 7), VERSION), ((6, 7), ROLE)):
        yield ("octets %d and %d" % both,
               lambda h, both=both: flip(flip(right(h), both[0]), both[1]),
               outcome)
    yield ("the first octet alone, and it is wrong",
           lambda h: b"X", FOREIGN)
    yield ("cut behind a wrong version", lambda h: b"CSIGN2", VERSION)
    yield ("cut behind a wrong role", lambda h: b"CSIGN1X", ROLE)
    yield ("cut behind a wrong mode",
           lambda h: right(h)[:7] + bytes([mode ^ 3]), MODE)


# Cases for a client

def clients(mode):
    gs = share(PRIVATE) if mode == 2 else b""
    ns = fixed("Ns, mode %d" % mode)
    other_gs = share(fixed("another private key")) if mode == 2 else b""
    whole = 65 if mode == 2 else 33

    def f1(h):
        return h.challenge(ns)

    def case(name, section, expect, first=f1, then=None, left=None, **end):
        return Case(CLIENT, mode, name, section, expect, end, first, then,
                    left)

    def right(h):
        return h.verdict(gs)

    def f3(name, section, expect, then, **more):
        return case(name, section, expect, then=then, **more)

    yield f3("F1 and F3", "6.3", ACCEPTED, right, left=0)
    yield f3("F3 and application data behind it", "6.1", ACCEPTED,
             lambda h: right(h) + b"hello", left=5)
    yield f3("no key id", "5", ACCEPTED, right, left=0, key_id=b"")
    yield f3("a key id of 64 octets", "5", ACCEPTED, right, left=0,
             key_id=bytes(range(192, 256)))
    yield f3("a key id of any octets", "5", ACCEPTED, right, left=0,
             key_id=b"\0\xff/../\n")
    yield f3("a service of 255 octets and a binding", "4", ACCEPTED, right,
             left=0, service=fixed("a long service", 255), binding=BINDING)
    yield f3("no service", "4", ACCEPTED, right, left=0, service=b"")
    yield f3("a TLS binding", "4", ACCEPTED, right, left=0, binding=BINDING)
    yield f3("a secret of 16 octets", "3", ACCEPTED, right, left=0,
             secret=fixed("a short secret", 16))
    yield f3("a secret of 1000 octets", "3", ACCEPTED, right, left=0,
             secret=fixed("a long secret", 1000))
    yield f3("a secret with a zero octet at its end", "3", ACCEPTED, right,
             left=0, secret=fixed("a short secret", 31) + b"\0")
    yield f3("a child secret", "3", ACCEPTED, right, left=0,
             secret=Keys(SECRET).child(KEY_ID))

    for name, octets, outcome in headers(f1, mode, b"C"):
        yield case("F1: " + name, "6.1", outcome, octets)
    for name, octets in STRANGERS:
        yield case("F1: " + name, "6.1", FOREIGN, lambda h, o=octets: o)
    yield case("F1: the header of an F2", "6.1", ROLE,
               lambda h: b"CSIGN1C" + f1(h)[7:])
    for length in (0, 1, 5, 7, 8, 39):
        yield case("F1: cut after %d octets" % length, "6.3", CLOSED,
                   lambda h, n=length: f1(h)[:n])

    for length in sorted({0, 1, 2, 32, 33, whole - 1} - {whole}):
        yield f3("F3: cut after %d octets" % length, "6.3", CLOSED,
                 lambda h, n=length: right(h)[:n])
    for length in sorted({1, 32, whole - 1}):
        yield f3("F3: a denial cut after %d octets" % length, "6.3", CLOSED,
                 lambda h, n=length: h.denial()[:n])
    yield f3("F3: a denial", "6.3", DENIED, Handshake.denial, left=0)
    yield f3("F3: a denial and application data", "6.1", DENIED,
             lambda h: h.denial() + b"hello", left=5)
    yield f3("F3: a denial with octets that are not zero", "6.3", DENIED,
             lambda h: b"D" + fixed("not zero", whole - 1), left=0)
    yield f3("F3: a denial with the server's proof", "6.3", DENIED,
             lambda h: b"D" + right(h)[1:], left=0)
    for name, letter in (("B", b"B"), ("a", b"a"), ("d", b"d"), ("00", b"\0"),
                         ("ff", b"\xff"), ("C", b"C")):
        yield f3("F3: verdict " + name, "6.1", MALFORMED,
                 lambda h, o=letter: o + right(h)[1:])
        yield f3("F3: verdict %s alone" % name, "6.1", MALFORMED,
                 lambda h, o=letter: o)
    for name, letter in (("B", b"B"), ("D", b"D")):
        yield f3("F3: A, proved as " + name, "6.3", NOT_AUTHENTIC,
                 lambda h, o=letter: b"A" + h.verdict(gs, letter=o)[1:])

    def wrong(name, then, section="6.3", **more):
        return f3("F3: " + name, section, NOT_AUTHENTIC, then, **more)

    for at in (0, 1, 15, 16, 31):
        yield wrong("octet %d of Ts" % at,
                    lambda h, at=at: flip(right(h), at - 32))
    yield wrong("the last bit of Ts", lambda h: flip(right(h), -1, 0x80))
    yield wrong("a Ts of zeros", lambda h: right(h)[:-32] + bytes(32))
    yield wrong("half of Ts, and zeros",
                lambda h: right(h)[:-16] + bytes(16))
    yield wrong("Tc in place of Ts", lambda h: right(h)[:-32] + h.f2[-32:])
    for name in ("kc", "kx", "prk"):
        yield wrong("Ts under " + name.capitalize(), lambda h, name=name:
                    h.verdict(gs, key=getattr(h.keys, name)))
    yield wrong("Ts under the secret itself",
                lambda h: h.verdict(gs, key=h.keys.secret))
    yield wrong("Ts under another secret",
                lambda h: h.verdict(gs, key=Keys(OTHER).ks))
    yield wrong("Ts under the parent of a child secret",
                lambda h: h.verdict(gs, key=Keys(SECRET).ks),
                secret=Keys(SECRET).child(KEY_ID))
    yield wrong("Ts without P", lambda h: h.verdict(gs, P=b""), "4")
    yield wrong("Ts for another service", lambda h:
                h.verdict(gs, P=lv(b"billing/3") + lv(h.binding)), "4")
    yield wrong("Ts for a service in capitals", lambda h:
                h.verdict(gs, P=lv(b"Billing/2") + lv(h.binding)), "4")
    yield wrong("Ts without a service", lambda h:
                h.verdict(gs, P=lv(b"") + lv(h.binding)), "4")
    yield wrong("Ts with a binding that the client has not", lambda h:
                h.verdict(gs, P=lv(h.service) + lv(BINDING)), "4")
    yield wrong("Ts without the client's binding", lambda h:
                h.verdict(gs, P=lv(h.service) + lv(b"")), "4",
                binding=BINDING)
    yield wrong("Ts of another connection's binding", lambda h: h.verdict(
        gs, P=lv(h.service) + lv(flip(BINDING, -1))), "4", binding=BINDING)
    yield wrong("Ts with the border in P moved", lambda h: h.verdict(
        gs, P=lv(h.service[:-1]) + lv(h.service[-1:] + h.binding)), "4")
    yield wrong("Ts without F1", lambda h: h.verdict(gs, f1=b""))
    yield wrong("Ts over another Ns", lambda h: h.verdict(
        gs, f1=flip(h.f1, 39)))
    yield wrong("Ts over another mode in F1", lambda h: h.verdict(
        gs, f1=flip(h.f1, 7, 3)))
    yield wrong("Ts without F2", lambda h: h.verdict(gs, f2=b""))
    yield wrong("Ts over F2 without Tc", lambda h: h.verdict(
        gs, f2=h.f2[:-32]))
    yield wrong("Ts over another Nc", lambda h: h.verdict(
        gs, f2=flip(h.f2, -33)))
    yield wrong("Ts over another key id", lambda h: h.verdict(
        gs, f2=flip(h.f2, 9)))
    yield wrong("Ts over another mode in F2", lambda h: h.verdict(
        gs, f2=flip(h.f2, 7, 3)))
    yield wrong("Ts without the A", lambda h: b"A" + h.verdict(
        gs, letter=b"")[-32 - len(gs):])
    yield wrong("a Ts cut to 31 octets, and one octet of data", lambda h:
                right(h)[:-1] + bytes([right(h)[-1] ^ 1]))

    if mode != 2:
        return
    yield f3("F3: a share with its most significant bit set", "5", ACCEPTED,
             lambda h: h.verdict(flip(gs, 31, 0x80)), left=0)
    yield f3("F3: the share p + 9, which is 9", "5", ACCEPTED,
             lambda h: h.verdict((P25519 + 9).to_bytes(32, "little")), left=0)
    for name, small in SMALL:
        yield f3("F3: the share " + name, "6.3", ZERO,
                 lambda h, small=small: h.verdict(small), left=0)
    yield wrong("the share 0 under a wrong Ts", lambda h:
                flip(h.verdict(bytes(32)), -1))
    yield wrong("a share that Ts does not cover", lambda h:
                b"A" + gs + h.verdict()[-32:])
    yield wrong("another share than Ts covers", lambda h:
                b"A" + other_gs + h.verdict(gs)[-32:])
    yield wrong("the most significant bit of the share", lambda h:
                flip(h.verdict(gs), 32, 0x80))
    yield wrong("a share in front of the A under Ts", lambda h:
                b"A" + gs + h.proved(key=h.keys.ks, letter=gs + b"A"))


# Cases for a server

def servers(mode):
    nc = share(PRIVATE) if mode == 2 else fixed("Nc, mode %d" % mode)

    def case(name, section, expect, first, left=None, **end):
        return Case(SERVER, mode, name, section, expect, end, first, None,
                    left)

    def right(h):
        return h.response(nc)

    def rotating(first, **more):
        return dict(secret=first, accepted=OTHER if first == SECRET else SECRET,
                    **more)

    yield case("F2", "6.2", ACCEPTED, right, left=0)
    yield case("F2 and application data behind it", "6.1", ACCEPTED,
               lambda h: right(h) + b"hello", left=5)
    yield case("no key id", "5", ACCEPTED, right, left=0, key_id=b"")
    yield case("a key id of 64 octets", "5", ACCEPTED, right, left=0,
               key_id=bytes(range(192, 256)))
    yield case("a key id of any octets", "5", ACCEPTED, right, left=0,
               key_id=b"\0\xff/../\n")
    yield case("a service of 255 octets and a binding", "4", ACCEPTED, right,
               left=0, service=fixed("a long service", 255), binding=BINDING)
    yield case("no service", "4", ACCEPTED, right, left=0, service=b"")
    yield case("a TLS binding", "4", ACCEPTED, right, left=0, binding=BINDING)
    yield case("a secret of 16 octets", "3", ACCEPTED, right, left=0,
               secret=fixed("a short secret", 16))
    yield case("a secret of 1000 octets", "3", ACCEPTED, right, left=0,
               secret=fixed("a long secret", 1000))
    yield case("a child secret", "3", ACCEPTED, right, left=0,
               secret=Keys(SECRET).child(KEY_ID))
    yield case("the first of two secrets", "6.2", ACCEPTED, right, left=0,
               **rotating(SECRET))
    yield case("the second of two secrets", "6.2", ACCEPTED,
               lambda h: h.response(nc, key=Keys(OTHER).kc), left=0,
               **rotating(SECRET))
    yield case("two secrets, and F2 under a third", "6.2", REJECTED,
               lambda h: h.response(nc, key=Keys(text("a third")).kc),
               **rotating(SECRET))
    yield case("two secrets, the second, for another service", "6.2", REJECTED,
               lambda h: h.response(nc, key=Keys(OTHER).kc,
                                    P=lv(b"billing/3") + lv(b"")),
               **rotating(SECRET))
    yield case("two secrets, and another key id", "6.2", UNKNOWN,
               lambda h: h.response(nc, key=Keys(OTHER).kc, key_id=b"worker-8"),
               **rotating(SECRET))

    for name, octets, outcome in headers(right, mode, b"S"):
        yield case("F2: " + name, "6.1", outcome, octets)
    for name, octets in STRANGERS:
        yield case("F2: " + name, "6.1", FOREIGN, lambda h, o=octets: o)
    yield case("F2: F1 sent back", "6.1", ROLE, lambda h: h.f1 + bytes(33))
    yield case("F2: eight octets, of a client of version 2", "6.1", VERSION,
               lambda h: b"CSIGN2C" + bytes([mode]))
    yield case("F2: eight octets, of a client of another mode", "6.1", MODE,
               lambda h: b"CSIGN1C" + bytes([mode ^ 1]))
    for n in (65, 66, 128, 255):
        yield case("F2: n = %d" % n, "6.1", MALFORMED, lambda h, n=n:
                   right(h)[:8] + bytes([n]) + bytes(n + 64))
    yield case("F2: n = 65, and no more", "6.1", MALFORMED,
               lambda h: right(h)[:8] + b"\x41")
    yield case("F2: n = 65 behind a wrong mode", "6.1", MODE,
               lambda h: flip(right(h)[:8], 7, 3) + b"\x41" + bytes(129))
    for length in (0, 1, 5, 7, 8, 9, 12, 17, 48, 49, 72, 73, 80):
        yield case("F2: cut after %d octets" % length, "6.1", CLOSED,
                   lambda h, n=length: right(h)[:n])

    def unknown(name, claimed, **end):
        return case("F2: " + name, "6.2", UNKNOWN,
                    lambda h: h.response(nc, key_id=claimed), **end)

    yield unknown("another key id", b"worker-8")
    yield unknown("no key id where the server expects one", b"")
    yield unknown("a key id where the server expects none", b"a", key_id=b"")
    yield unknown("the start of the key id", b"worker-")
    yield unknown("the key id and one octet more", b"worker-7\0")
    yield unknown("the key id in capitals", b"WORKER-7")
    yield unknown("a key id of 64 octets", bytes(64))
    yield case("F2: another key id, and a wrong Tc", "6.2", UNKNOWN,
               lambda h: h.response(nc, key_id=b"worker-8", tc=bytes(32)))

    def wrong(name, section="6.2", **how):
        end = how.pop("end", {})
        return case("F2: " + name, section, REJECTED,
                    lambda h: h.response(nc, **{
                        key: value(h) for key, value in how.items()}), **end)

    for at in (0, 1, 15, 16, 31):
        yield case("F2: octet %d of Tc" % at, "6.2", REJECTED,
                   lambda h, at=at: flip(right(h), at - 32))
    yield case("F2: the last bit of Tc", "6.2", REJECTED,
               lambda h: flip(right(h), -1, 0x80))
    yield wrong("a Tc of zeros", tc=lambda h: bytes(32))
    yield case("F2: half of Tc, and zeros", "6.2", REJECTED,
               lambda h: right(h)[:-16] + bytes(16))
    for name in ("ks", "kx", "prk"):
        yield wrong("Tc under " + name.capitalize(),
                    key=lambda h, name=name: getattr(h.keys, name))
    yield wrong("Tc under a key of zeros", key=lambda h: bytes(32))
    yield wrong("Tc under the secret itself", "3",
                key=lambda h: h.keys.secret)
    yield wrong("Tc under another secret", key=lambda h: Keys(OTHER).kc)
    yield wrong("Tc under a secret with a zero octet appended", "3",
                key=lambda h: Keys(h.keys.secret + b"\0").kc,
                end=dict(secret=fixed("a secret of 63 octets", 63)))
    yield wrong("Tc under the SHA-256 of a long secret", "3",
                key=lambda h: Keys(
                    hashlib.sha256(h.keys.secret).digest()).kc,
                end=dict(secret=fixed("a secret of 65 octets", 65)))
    yield wrong("Tc under the secret's digits in capitals", "3",
                key=lambda h: Keys(h.keys.secret.upper()).kc)
    yield wrong("Tc under the octets that the digits stand for", "3",
                key=lambda h: Keys(bytes.fromhex(h.keys.secret.decode())).kc)
    yield wrong("Tc under the secret and a line end", "3",
                key=lambda h: Keys(h.keys.secret + b"\n").kc)
    yield wrong("Tc under the parent of a child secret", "3",
                key=lambda h: Keys(SECRET).kc,
                end=dict(secret=Keys(SECRET).child(KEY_ID)))
    yield wrong("Tc under the child secret of another key id", "3",
                key=lambda h: Keys(Keys(SECRET).child(b"worker-8")).kc,
                end=dict(secret=Keys(SECRET).child(KEY_ID)))
    yield wrong("Tc under an old secret that is removed", "3",
                key=lambda h: Keys(OTHER).kc)
    yield wrong("Tc without P", "4", P=lambda h: b"")
    yield wrong("Tc for another service", "4",
                P=lambda h: lv(b"billing/3") + lv(b""))
    yield wrong("Tc for a service in capitals", "4",
                P=lambda h: lv(b"Billing/2") + lv(b""))
    yield wrong("Tc without a service", "4", P=lambda h: lv(b"") + lv(b""))
    yield wrong("Tc for a service, where the server has none", "4",
                P=lambda h: lv(b"billing/2") + lv(b""),
                end=dict(service=b""))
    yield wrong("Tc with a binding that the server has not", "4",
                P=lambda h: lv(h.service) + lv(BINDING))
    yield wrong("Tc without the server's binding", "4",
                P=lambda h: lv(h.service) + lv(b""),
                end=dict(binding=BINDING))
    yield wrong("Tc of another connection's binding", "4",
                P=lambda h: lv(h.service) + lv(flip(BINDING, -1)),
                end=dict(binding=BINDING))
    yield wrong("Tc with the border in P moved", "4",
                P=lambda h: lv(h.service[:-1]) + lv(h.service[-1:]))
    yield wrong("Tc without F1", f1=lambda h: b"")
    yield wrong("Tc for another Ns, as in a replay",
                f1=lambda h: h.challenge(fixed("an old nonce")))
    yield wrong("Tc for the last octet of another Ns",
                f1=lambda h: flip(h.f1, 39))
    yield wrong("Tc for another mode in F1", f1=lambda h: flip(h.f1, 7, 3))
    yield wrong("Tc for another version in F1", f1=lambda h: flip(h.f1, 5, 3))
    yield case("F2: Nc that was changed on the way", "6.2", REJECTED,
               lambda h: flip(right(h), -33))
    yield case("F2: a key id that was changed on the way", "6.2", REJECTED,
               lambda h: flip(h.response(nc, key_id=b"worker-6"), 16),
               key_id=b"worker-7")
    yield case("F2: a mode that was changed on the way", "6.2", REJECTED,
               lambda h: flip(h.response(nc, mode=mode ^ 3), 7, 3))
    yield case("F2: the octet n not under Tc", "6.2", REJECTED,
               lambda h: b"CSIGN1C" + bytes([mode]) + lv(h.key_id) + nc + H(
                   h.keys.kc, h.P, h.f1, b"CSIGN1C", bytes([mode]), h.key_id,
                   nc))
    yield case("F2: a Tc that covers Nc only", "6.2", REJECTED,
               lambda h: right(h)[:-32] + H(h.keys.kc, h.P, h.f1, nc))

    if mode != 2:
        return
    yield case("F2: a share with its most significant bit set", "5", ACCEPTED,
               lambda h: h.response(flip(nc, 31, 0x80)), left=0)
    yield case("F2: the share p + 9, which is 9", "5", ACCEPTED,
               lambda h: h.response((P25519 + 9).to_bytes(32, "little")),
               left=0)
    for name, small in SMALL:
        yield case("F2: the share " + name, "6.2", ZERO,
                   lambda h, small=small: h.response(small))
    yield case("F2: the share 0 under a wrong Tc", "6.2", REJECTED,
               lambda h: flip(h.response(bytes(32)), -1))
    yield case("F2: the most significant bit of the share", "6.2", REJECTED,
               lambda h: flip(right(h), -33, 0x80))


def cases():
    for mode in (0, 1, 2):
        yield from clients(mode)
        yield from servers(mode)


# The fields of a case, with fixed nonces

def fields(case):
    end, h = begin(case)
    draw = fixed("what is drawn: %s, mode %d, %s"
                 % (case.role, case.mode, case.name))
    private = fixed("what is drawn then: mode %d, %s"
                    % (case.mode, case.name))
    given = [("draw", draw)]
    if case.role == CLIENT:
        received, sent, outputs = _to_client(case, h, draw)
    else:
        received, sent, outputs = _to_server(case, end, h, draw, private)
        if case.mode == 2 and case.expect in (ACCEPTED, ZERO):
            given.append(("second-draw", private))
    yield "name", "%s, mode %d: %s" % (case.role, case.mode, case.name)
    yield "section", case.section
    yield "expect", case.expect
    yield "role", case.role
    yield "mode", str(case.mode)
    for field, octets in [("secret", end.secret), ("accepted", end.accepted),
                          ("key-id", end.key_id), ("service", end.service),
                          ("binding", end.binding), *given,
                          ("receives", received), ("sends", sent)]:
        if octets is not None and (case.role, field) != (CLIENT, "accepted"):
            yield field, octets.hex()
    if case.left is not None:
        yield "left", str(case.left)
    yield from outputs


def _outputs(session, matched=None):
    if matched:
        yield "matched", matched
    yield "exported", session.export(b"kit", b"", 32).hex()


def _to_client(case, h, draw):
    received = h.f1 = case.first(h)
    if case.then is None:
        header = b"CSIGN1C" + bytes([case.mode])
        return received, header if case.expect in (VERSION, MODE) else b"", ()
    h.f2 = h.response(share(draw) if case.mode == 2 else draw)
    f3 = case.then(h)
    if case.expect != ACCEPTED:
        return received + f3, h.f2, ()
    gs = f3[1:33] if case.mode == 2 else b""
    z = x25519(draw, gs) if case.mode == 2 else None
    return received + f3, h.f2, _outputs(h.session(gs, z))


def _to_server(case, end, h, draw, private):
    h.f1 = h.challenge(draw)
    received = h.f2 = case.first(h)
    if case.expect in (UNKNOWN, REJECTED, ZERO):
        return received, h.f1 + h.denial(), ()
    if case.expect != ACCEPTED:
        return received, h.f1, ()
    h.f2 = received[:len(received) - case.left]
    second = case.name == "the second of two secrets"
    matched = "second" if second else "first" if end.accepted else None
    if second:
        h.keys = Keys(end.accepted)
    gs = share(private) if case.mode == 2 else b""
    z = x25519(private, h.nc) if case.mode == 2 else None
    return (received, h.f1 + h.verdict(gs),
            _outputs(h.session(gs, z), matched))
