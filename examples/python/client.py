#!/usr/bin/env python3
"""Counts in several processes at once, on a counter in Rust.

    client.py --connect HOST:PORT --key-file PATH [--processes N] [--times N]

Each process connects with multiprocessing's Client.  The other end is
examples/integrations/python_clients.rs.  Needs CPython 3.12 or later:
multiprocessing had only HMAC-MD5 before.
"""

import argparse
import json
import sys
from multiprocessing import AuthenticationError, Pool
from multiprocessing.connection import Client


def read_key(path):
    """Returns the content of the file without its trailing LF or CRLF."""
    with open(path, "rb") as file:
        key = file.read()
    return key.removesuffix(b"\n").removesuffix(b"\r")


def address(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


def add(connection, number):
    """Adds a number, returns the total.  Bytes: pickle is not safe."""
    connection.send_bytes(json.dumps({"add": number}).encode())
    return json.loads(connection.recv_bytes(65536))["total"]


def count(server, key, times):
    with Client(server, authkey=key) as connection:
        for _ in range(times):
            add(connection, 1)


def main():
    parser = argparse.ArgumentParser(description="Counts in several processes.")
    parser.add_argument("--connect", metavar="HOST:PORT", type=address,
                        required=True)
    parser.add_argument("--key-file", metavar="PATH", required=True)
    parser.add_argument("--processes", metavar="N", type=int, default=3)
    parser.add_argument("--times", metavar="N", type=int, default=100)
    options = parser.parse_args()

    key = read_key(options.key_file)
    try:
        with Pool(options.processes) as pool:
            pool.starmap(count, [(options.connect, key, options.times)]
                         * options.processes, chunksize=1)
        with Client(options.connect, authkey=key) as connection:
            print("total: %d" % add(connection, 0))
    except (AuthenticationError, EOFError, OSError) as error:
        sys.exit("client.py: %s" % error)


if __name__ == "__main__":
    main()
