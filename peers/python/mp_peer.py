#!/usr/bin/env python3
"""A peer made of nothing but CPython's own multiprocessing, from 3.8 on.

    mp_peer.py listen [--authkey KEY] [--connections N] [--sizes N,N,...]
                      [--greet] [--fips]
    mp_peer.py connect --connect HOST:PORT [the same]
    mp_peer.py manage --authkey KEY

The first two serve or make one connection after the other, and print one line
to standard error for each, with its outcome.  On each connection they send a
message of each size back, then send one of each size themselves and expect it
back.  With --greet they send one object first.  With --fips they do without
MD5, as builds for FIPS 140 do.  The third is a manager, and serves until it is
killed or shut down.
"""

import argparse
import hmac
import sys
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Listener
from multiprocessing.managers import BaseManager

LOOPBACK = ("127.0.0.1", 0)
PATTERN = bytes(range(251))


def say(text):
    print(text, file=sys.stderr)
    sys.stderr.flush()


def announce(address):
    print("listening on %s:%d" % address)
    sys.stdout.flush()


def address(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


def sizes(text):
    return [int(size) for size in text.split(",") if size]


def do_without_md5():
    """The builds of Linux distributions up to 3.11 use SHA-256 in its place.

    Since 3.12 there is an error, which CPython handles.
    """
    new = hmac.new

    def new_without_md5(key, message, digest):
        if digest == "md5":
            if sys.version_info >= (3, 12):
                raise ValueError("there is no MD5")
            digest = "sha256"
        return new(key, message, digest)

    hmac.new = new_without_md5


def exchange(connection, options):
    if options.greet:
        connection.send("hello")
    for _ in options.sizes:
        connection.send_bytes(connection.recv_bytes())
    for size in options.sizes:
        message = (PATTERN * (size // len(PATTERN) + 1))[:size]
        connection.send_bytes(message)
        if connection.recv_bytes() != message:
            return "a message of %d bytes came back wrong" % size
    return "accepted"


def converse(connect, options):
    for _ in range(options.connections):
        try:
            with connect() as connection:
                say(exchange(connection, options))
        # Up to 3.11 an assertion refuses what is no challenge.
        except (AssertionError, AuthenticationError, EOFError, OSError) as error:
            say("refused: %s: %s" % (type(error).__name__, error))


def command_listen(options):
    with Listener(LOOPBACK, authkey=options.authkey) as listener:
        announce(listener.address)
        converse(listener.accept, options)


def command_connect(options):
    converse(lambda: Client(options.connect, authkey=options.authkey), options)


def command_manage(options):
    server = BaseManager(LOOPBACK, authkey=options.authkey).get_server()
    announce(server.address)
    server.serve_forever()


def main():
    parser = argparse.ArgumentParser(description="A peer of multiprocessing.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, run in [("listen", command_listen), ("connect", command_connect),
                      ("manage", command_manage)]:
        command = commands.add_parser(name)
        command.add_argument("--authkey", type=str.encode)
        command.add_argument("--connections", type=int, default=1)
        command.add_argument("--sizes", type=sizes, default=[])
        command.add_argument("--greet", action="store_true")
        command.add_argument("--fips", action="store_true")
        if name == "connect":
            command.add_argument("--connect", metavar="HOST:PORT", type=address,
                                 required=True)
        command.set_defaults(run=run)
    options = parser.parse_args()
    if options.fips:
        do_without_md5()
    options.run(options)


if __name__ == "__main__":
    main()
