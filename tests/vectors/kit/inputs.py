"""What a program is given, and what it has to refuse."""

from exchanges import fixed

TAKEN, REFUSED = "taken", "refused"


def _cases():
    some = fixed("a secret", 16)
    for length in (0, 1, 15):
        yield "3", REFUSED, "secret", "%d octets" % length, some[:length]
    yield "3", REFUSED, "secret", "16 octets 00", bytes(16)
    yield "3", REFUSED, "secret", "32 octets ff", b"\xff" * 32
    yield "3", REFUSED, "secret", "64 digits 0", b"0" * 64
    yield "3", REFUSED, "secret", "1000 octets 61", b"a" * 1000
    yield "3", TAKEN, "secret", "16 octets", some
    yield "3", TAKEN, "secret", "all equal but the last", bytes(15) + b"\1"
    yield "3", TAKEN, "secret", "all equal but the first", b"\1" + bytes(15)
    yield "3", TAKEN, "secret", "with a line end", some + b"\n"
    yield "3", TAKEN, "secret", "1000 octets", fixed("a long secret", 1000)
    for length, outcome in ((15, REFUSED), (16, TAKEN), (65536, TAKEN),
                            (65537, REFUSED)):
        yield "3", outcome, "key file", "%d octets" % length, length

    for length in (0, 1, 64):
        yield "5", TAKEN, "key id", "%d octets" % length, b"k" * length
    yield "5", TAKEN, "key id", "NUL", b"\0"
    yield "5", TAKEN, "key id", "not UTF-8", b"\xff\xfe"
    for length in (65, 255, 256):
        yield "5", REFUSED, "key id", "%d octets" % length, b"k" * length

    for length in (1, 64):
        yield "3", TAKEN, "child id", "%d octets" % length, b"k" * length
    for length in (0, 65, 256):
        yield "3", REFUSED, "child id", "%d octets" % length, b"k" * length

    for length in (0, 1, 255):
        yield "4", TAKEN, "service", "%d octets" % length, b"s" * length
    for length in (256, 512):
        yield "4", REFUSED, "service", "%d octets" % length, b"s" * length

    for length in (1, 255):
        yield "7", TAKEN, "export label", "%d octets" % length, b"l" * length
    for length in (0, 256):
        yield "7", REFUSED, "export label", "%d octets" % length, b"l" * length
    for length, outcome in ((0, TAKEN), (65535, TAKEN), (65536, REFUSED)):
        yield "7", outcome, "export context", "%d octets" % length, length
    for length, outcome in ((0, REFUSED), (1, TAKEN), (8160, TAKEN),
                            (8161, REFUSED)):
        yield "7", outcome, "export output", "%d octets" % length, length


def cases():
    return list(_cases())


def fields(case):
    section, expect, kind, name, value = case
    yield "name", "%s: %s" % (kind, name)
    yield "section", section
    yield "expect", expect
    yield "input", kind
    if isinstance(value, int):
        yield "length", str(value)
    else:
        yield "value", value.hex()
