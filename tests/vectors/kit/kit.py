#!/usr/bin/env python3
"""The test kit of the countersign protocol, version 1.

    kit.py write                  write the files of the kit
    kit.py print FILE             print one: exchanges, records or inputs
    kit.py to-server HOST:PORT    be the client of a server under test
    kit.py to-client [HOST:PORT]  be the server of a client under test

The last two take --mode 0, 1 or 2.

README.md beside the files says how to use it.  It needs Python 3.8 or later,
and nothing else.
"""

import argparse
import os
import socket
import sys
import time

import exchanges
import inputs
import live
import records

COMMENTS = {
    "exchanges": """\
# What each end of a handshake does with what it is sent: the test kit of the
# countersign protocol, version 1.  README.md explains the fields.
""",
    "records": """\
# What each end delivers of the records that it is sent: the test kit of the
# countersign protocol, version 1.  README.md explains the fields.
""",
    "inputs": """\
# What a program refuses of its own user's: the test kit of the countersign
# protocol, version 1.  README.md explains the fields.
""",
}
FILES = {"exchanges": exchanges, "records": records, "inputs": inputs}


def made(name):
    """The text of a file."""
    blocks = [COMMENTS[name]]
    for case in FILES[name].cases():
        blocks.append("".join(("%s: %s" % field).rstrip() + "\n"
                              for field in FILES[name].fields(case)))
    return "\n".join(blocks).encode("ascii")


def write(_):
    directory = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for name in FILES:
        with open(os.path.join(directory, name + ".txt"), "wb") as file:
            file.write(made(name))


def print_(options):
    if options.file == "secret":
        print(exchanges.SECRET.decode("ascii"))
    else:
        sys.stdout.buffer.write(made(options.file))


def address(text):
    """(host, port) of HOST:PORT."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError("%r is not HOST:PORT" % text)
    return host.strip("[]"), int(port)


def connected(server):
    """A connection to a server under test, which may have just begun."""
    until = time.monotonic() + live.PATIENCE
    while True:
        try:
            return socket.create_connection(server, live.PATIENCE)
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def to_server(options):
    return report(live.to_server(
        lambda: connected(options.address), options.mode))


def to_client(options):
    with socket.create_server(options.address) as listener:
        # A client under test that does not connect any more.
        listener.settimeout(10 * live.PATIENCE)
        print("listening on %s:%d" % listener.getsockname()[:2], flush=True)
        return report(live.to_client(lambda: listener.accept()[0],
                                     options.mode))


def report(outcomes):
    """Prints what was broken, and returns the status of the program."""
    cases = failed = 0
    try:
        for case, broken in outcomes:
            cases += 1
            if broken:
                failed += 1
                print("section %s: %s, mode %d: %s: %s" % (
                    broken.section, case.role, case.mode, case.name, broken),
                    flush=True)
    except OSError as error:
        print("the program under test is gone: %s" % error)
        failed += 1
    print("%d cases, %d broken" % (cases, failed))
    return 1 if failed or not cases else 0


def main():
    parser = argparse.ArgumentParser(
        description="The test kit of the countersign protocol, version 1.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("write", help="write the files").set_defaults(
        run=write)
    command = commands.add_parser("print", help="print one of them")
    command.add_argument("file", choices=sorted(FILES) + ["secret"])
    command.set_defaults(run=print_)
    for name, run, default in (("to-server", to_server, None),
                               ("to-client", to_client, "127.0.0.1:0")):
        command = commands.add_parser(name)
        command.add_argument("address", metavar="HOST:PORT", type=address,
                             nargs="?" if default else None, default=default)
        command.add_argument("--mode", type=int, choices=(0, 1, 2), default=0)
        command.set_defaults(run=run)
    options = parser.parse_args()
    return options.run(options)


if __name__ == "__main__":
    sys.exit(main())
