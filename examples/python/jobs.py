#!/usr/bin/env python3
"""Sends jobs to workers in Rust, over multiprocessing's Listener.

    jobs.py --key-file PATH [--listen HOST:PORT] [--workers N] [LIMIT...]

Each worker gets its share of the jobs, and all work at once.  The results are
printed in the order of the jobs.  The other end is
examples/integrations/python_worker.rs.  Needs CPython 3.12 or later:
multiprocessing had only HMAC-MD5 before.
"""

import argparse
import json
import os
import queue
import socket
import sys
import threading
from multiprocessing import AuthenticationError
from multiprocessing.connection import (
    Listener, answer_challenge, deliver_challenge)

TIMEOUT = 5.0


def read_key(path):
    """Returns the content of the file without its trailing LF or CRLF."""
    with open(path, "rb") as file:
        key = file.read()
    return key.removesuffix(b"\n").removesuffix(b"\r")


def address(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


def authenticate(connection, key, accepted):
    """Does what Listener.accept does with an authkey, which has no timeout."""
    with socket.socket(fileno=os.dup(connection.fileno())) as sock:
        timer = threading.Timer(TIMEOUT, sock.shutdown, [socket.SHUT_RDWR])
        timer.start()
        try:
            deliver_challenge(connection, key)
            answer_challenge(connection, key)
        except (AuthenticationError, EOFError, OSError) as error:
            print("refused: %s" % (error or "disconnected"), file=sys.stderr)
            connection.close()
        else:
            accepted.put(connection)
        finally:
            timer.cancel()


def accept(listener, key, accepted):
    """Gives each connection a thread, so that no peer holds up another."""
    while True:
        threading.Thread(target=authenticate, daemon=True,
                         args=[listener.accept(), key, accepted]).start()


def work_off(connection, jobs, results):
    """Sends one job after the other.  Bytes: pickle is not safe."""
    with connection:
        for job in jobs:
            connection.send_bytes(json.dumps(job).encode())
            result = json.loads(connection.recv_bytes(65536))
            results[result["job"]] = result["primes"]


def main():
    parser = argparse.ArgumentParser(description="Sends jobs to workers.")
    parser.add_argument("--key-file", metavar="PATH", required=True)
    parser.add_argument("--listen", metavar="HOST:PORT", type=address,
                        default="127.0.0.1:0")
    parser.add_argument("--workers", metavar="N", type=int, default=3)
    parser.add_argument("limits", metavar="LIMIT", type=int, nargs="*",
                        default=[10 ** n for n in range(1, 6)])
    options = parser.parse_args()

    jobs = [{"job": number, "primes_below": limit}
            for number, limit in enumerate(options.limits)]
    results = {}
    threads = []
    accepted = queue.Queue()
    listener = Listener(options.listen, backlog=64)
    print("listening on %s:%d" % listener.address, flush=True)
    threading.Thread(target=accept, daemon=True, args=[
        listener, read_key(options.key_file), accepted]).start()
    for first in range(options.workers):
        share = jobs[first::options.workers]
        threads.append(threading.Thread(
            target=work_off, args=(accepted.get(), share, results)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(results) < len(jobs):
        sys.exit("jobs.py: a worker disconnected before its jobs were done")

    for job in jobs:
        print("%d primes below %d" % (results[job["job"]], job["primes_below"]))


if __name__ == "__main__":
    main()
