#!/usr/bin/env python3
"""The test kit of the countersign protocol, version 1.

    kit.py write                  write the files of the kit
    kit.py print FILE             print one: exchanges, records or inputs
    kit.py to-server HOST:PORT    be the client of a server under test
    kit.py to-client [HOST:PORT]  be the server of a client under test

README.md beside the files says how to use it.  It needs Python 3.8 or later,
and nothing else.
"""

import argparse
import os
import sys

import exchanges
import inputs
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
    sys.stdout.buffer.write(made(options.file))


def main():
    parser = argparse.ArgumentParser(
        description="The test kit of the countersign protocol, version 1.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("write", help="write the files").set_defaults(
        run=write)
    command = commands.add_parser("print", help="print one of them")
    command.add_argument("file", choices=sorted(FILES))
    command.set_defaults(run=print_)
    options = parser.parse_args()
    return options.run(options)


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    sys.exit(main())
