"""The other side of a program under test, over a socket.

The program has the secret, the key id and the service of ``exchanges.USUAL``
and no binding.  A server under test sends back what it receives, and closes
when its client has closed.  A client under test connects once for each case,
sends something where it is accepted, and then closes.
"""

import socket
import struct
import time

import exchanges
import records
from exchanges import ACCEPTED, CLIENT, CLOSED, KEY_ID, PRIVATE, SERVER
from protocol import share, x25519

# How long a program may take for one step, in seconds.
PATIENCE = 2.0


class Broken(Exception):
    """The program under test broke a rule."""

    def __init__(self, section, sentence):
        super().__init__(sentence)
        self.section = section


class Line:
    """A connection to the program under test."""

    def __init__(self, sock):
        self.sock = sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, octets):
        try:
            self.sock.sendall(octets)
        except ConnectionError:
            pass  # What it sent before tells more.

    def end(self):
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _some(self, most, until):
        """Octets, or none if it has ended, or None if it is silent."""
        self.sock.settimeout(max(until - time.monotonic(), 0.001))
        try:
            return self.sock.recv(most)
        except socket.timeout:
            return None
        except ConnectionError:
            return b""

    def exactly(self, length, what, section):
        data, until = b"", time.monotonic() + PATIENCE
        while len(data) < length:
            more = self._some(length - len(data), until)
            if not more:
                raise Broken(section, "it %s after %d octets of %s" % (
                    "is silent" if more is None else "ends", len(data), what))
            data += more
        return data

    def rest(self, what, section):
        """All until it ends, which it has to do by itself."""
        data, until = b"", time.monotonic() + PATIENCE
        while True:
            more = self._some(65536, until)
            if more is None:
                raise Broken(section, "it does not end the connection %s"
                             % what)
            if not more:
                return data
            data += more

    def nothing(self, what, section):
        data = self.rest(what, section)
        if data:
            raise Broken(section, "it sends %s %s" % (data[:80].hex(), what))


def _wanted(octets, right, what, section):
    if octets != right:
        raise Broken(section, "%s is %s and not %s"
                     % (what, octets.hex(), right.hex()))


# A server under test

def to_server(connect, mode):
    """Yields each case and what was broken, or None."""
    for case in exchanges.servers(mode):
        if not case.end and (mode == 0 or not case.left):
            yield _attempt(connect, case, _exchange_with_server)
    for case in records.cases():
        if (case.role, case.mode, case.skip) == (SERVER, mode, 0):
            yield _attempt(connect, case, _records_to_server)


def _attempt(connect, case, run):
    with connect() as sock:
        try:
            run(Line(sock), case)
        except Broken as broken:
            return case, broken
    return case, None


def _challenged(line, case):
    end, h = exchanges.begin(case)
    h.f1 = line.exactly(40, "F1", "6.2")
    _wanted(h.f1[:8], h.challenge(b""), "the header of F1", "5")
    return h


def _exchange_with_server(line, case):
    h = _challenged(line, case)
    h.f2 = case.first(h)
    line.send(h.f2)
    if case.expect == CLOSED:
        line.end()
    if case.expect == ACCEPTED:
        if case.left:
            h.f2 = h.f2[:-case.left]
        session = _accepted(line, h)
        if session or case.mode == 0:
            _echoed(line, session, case.left or 0)
    elif case.expect in (exchanges.UNKNOWN, exchanges.REJECTED,
                         exchanges.ZERO):
        f3 = line.exactly(len(h.denial()), "F3", case.section)
        _wanted(f3, h.denial(), "F3", case.section)
        line.end()
        line.nothing("after its denial", "6.1")
    else:
        line.nothing("where it is sent: %s" % case.expect, case.section)


def _accepted(line, h):
    """The session, where the kit can know it."""
    f3 = line.exactly(len(h.denial()), "F3", "6.2")
    gs = f3[1:33] if h.mode == 2 else b""
    _wanted(f3, h.verdict(gs), "F3", "6.2")
    if h.mode != 2:
        return h.session()
    if h.nc[:31] != share(PRIVATE)[:31]:
        return None
    return h.session(gs, x25519(PRIVATE, gs))


def _echoed(line, session, left):
    if session.mode == 0:
        line.send(b"ping")
        line.end()
        data = line.rest("after its client's end", "8.4")
        _wanted(data, b"hello"[:left] + b"ping", "what it sends back", "6.1")
        return
    line.send(session.record(b"client", 0, b"ping")
              + session.record(b"client", 1, b""))
    line.end()
    payloads, closed = _opened(
        session, b"server", line.rest("after both closes", "8.4"))
    _wanted(payloads, b"ping", "what it sends back", "8.3")
    if not closed:
        raise Broken("8.3", "it ends without a close")


def _opened(session, sender, octets):
    """The payloads of the records of the program under test."""
    payloads, seq = b"", 0
    while octets:
        n = struct.unpack(">H", octets[:2])[0] if len(octets) > 1 else 0
        body, tag = octets[2:2 + n], octets[2 + n:18 + n]
        if len(tag) < 16:
            raise Broken("8", "its record %d is cut" % seq)
        payload = body
        if session.mode == 2:
            # Sealing is a XOR, and so it opens too.
            payload = session.record(sender, seq, body)[2:-16]
        if session.record(sender, seq, payload) != octets[:18 + n]:
            raise Broken("8.%d" % session.mode,
                         "its record %d has another tag" % seq)
        octets, seq = octets[18 + n:], seq + 1
        if n == 0:
            if octets:
                raise Broken("8.3", "it sends %s behind its close"
                             % octets[:40].hex())
            return payloads, True
        payloads += payload
    return payloads, False


def _records_to_server(line, case):
    right = exchanges.Case(SERVER, case.mode, "", "", ACCEPTED, {}, None, None,
                           None)
    h = _challenged(line, right)
    nc = share(PRIVATE) if case.mode == 2 else exchanges.fixed("Nc")
    h.f2 = h.response(nc)
    line.send(h.f2)
    session = _accepted(line, h)
    line.send(case.made(records.Direction(session, b"client", b"server")))
    line.end()
    data = line.rest("after its client's end", "8.4")
    payloads, closed = _opened(session, b"server", data)
    if case.expect == records.CLOSE:
        _wanted(payloads, case.delivers, "what it sends back", case.section)
        if not closed:
            raise Broken("8.3", "it ends without a close")
    elif not case.delivers.startswith(payloads):
        raise Broken(case.section, "it delivers %s" % payloads[:40].hex())
    elif closed and case.expect != records.TRUNCATED:
        raise Broken("8.3", "it sends a close after a %s" % case.expect)


# A client under test

def to_client(accept, mode):
    """Yields each case and what was broken, or None."""
    for case in exchanges.clients(mode):
        if not case.end and not (case.expect == ACCEPTED and case.left):
            yield _attempt(accept, case, _exchange_with_client)


def _exchange_with_client(line, case):
    end, h = exchanges.begin(case)
    h.f1 = case.first(h)
    line.send(h.f1)
    if case.then is None:
        _refused_challenge(line, case)
        return
    f2 = line.exactly(9, "F2", "6.3")
    _wanted(f2, b"CSIGN1C" + bytes([case.mode, len(KEY_ID)]),
            "the header and n of F2", "5")
    h.f2 = f2 + line.exactly(len(KEY_ID) + 64, "F2", "5")
    _wanted(h.f2, h.response(h.nc), "F2", "6.3")
    f3 = case.then(h)
    line.send(f3)
    if case.expect == CLOSED:
        line.end()
    if case.expect != ACCEPTED:
        line.nothing("after an F3 that is: %s" % case.expect, case.section)
        return
    gs = f3[1:33] if case.mode == 2 else b""
    known = gs[:31] == share(PRIVATE)[:31]
    data = line.exactly(1, "application data", case.section)
    if case.mode == 0:
        line.send(data + line.rest("where it is accepted", "6.3"))
    elif case.mode == 1 or known:
        session = h.session(gs, case.mode == 2 and x25519(PRIVATE, h.nc))
        _echo(line, session, data)


def _refused_challenge(line, case):
    if case.expect == CLOSED:
        line.end()
    elif case.expect in (exchanges.VERSION, exchanges.MODE):
        header = b"CSIGN1C" + bytes([case.mode])
        sent = line.exactly(8, "the header of an F2", "6.1")
        _wanted(sent, header, "what it answers", "6.1")
        line.end()
    line.nothing("for an F1 that is: %s" % case.expect, case.section)


def _echo(line, session, data):
    """Sends back the payloads of a client, and closes when it has closed."""
    seq = 0
    while True:
        data += line.exactly(2 - len(data), "a record", "8")
        n = struct.unpack(">H", data)[0]
        data += line.exactly(n + 16, "a record", "8")
        payload = data[2:-16]
        if session.mode == 2:
            payload = session.record(b"client", seq, payload)[2:-16]
        if session.record(b"client", seq, payload) != data:
            raise Broken("8.%d" % session.mode,
                         "its record %d has another tag" % seq)
        line.send(session.record(b"server", seq, payload))
        if n == 0:
            line.end()
            return line.nothing("behind its close", "8.3")
        data, seq = b"", seq + 1
