"""Either end of a login in Python, for the bench to time.

    logins.py listen WIRE SECRET     accepts one client after the other
    logins.py connect WIRE SECRET    logs in as often as a line of standard
                                     input says, "ADDRESS TIMES", and answers
                                     with the nanoseconds that each took

WIRE is "recipe" or "multiprocessing".  Both end with their standard input.
The directory of the recipe is on PYTHONPATH.
"""

import os
import signal
import socket
import sys
import threading
from multiprocessing.connection import Client, Listener
from time import perf_counter_ns

import recipe

# A login that takes longer has failed.
SECONDS = 10


def no_delay(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def recipe_listen(secret):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        announce(listener.getsockname())
        while True:
            with listener.accept()[0] as connection:
                no_delay(connection)
                if recipe.server_authenticate(connection, secret):
                    say_when(connection)


def recipe_connect(address, secret):
    connection = socket.create_connection(address)
    no_delay(connection)
    recipe.client_authenticate(connection, secret)
    return connection


def multiprocessing_listen(secret):
    with Listener(("127.0.0.1", 0), authkey=secret) as listener:
        announce(listener.address)
        while True:
            with listener.accept() as connection:
                say_when(connection)


def multiprocessing_connect(address, secret):
    return Client(address, authkey=secret)


# On either wire the client speaks last and stops its clock before the listener
# is satisfied, so that the listener says when it was.  No part of the login.

def say_when(connection):
    # This clock is the same for all processes.
    satisfied = perf_counter_ns()
    os.write(connection.fileno(), b"%d" % satisfied)


def hear_when(connection):
    said = b""
    # To the end: the listener's closing is no part of the next login either.
    while bytes := os.read(connection.fileno(), 64):
        said += bytes
    if not said:
        sys.exit("refused")
    return int(said)


def announce(address):
    signal.alarm(0)
    print("%s:%d" % address, flush=True)


def end_with_stdin():
    sys.stdin.read()
    os._exit(0)


def listen(wire, secret):
    signal.alarm(SECONDS)
    threading.Thread(target=end_with_stdin, daemon=True).start()
    {"recipe": recipe_listen,
     "multiprocessing": multiprocessing_listen}[wire](secret)


def connect(wire, secret):
    log_in = {"recipe": recipe_connect,
              "multiprocessing": multiprocessing_connect}[wire]
    for line in sys.stdin:
        where, times = line.split()
        host, _, port = where.rpartition(":")
        address = host, int(port)
        took = []
        for _ in range(int(times)):
            signal.alarm(SECONDS)
            start = perf_counter_ns()
            with log_in(address, secret) as connection:
                clients = perf_counter_ns()
                took.append(max(clients, hear_when(connection)) - start)
        signal.alarm(0)
        print(*took, flush=True)


if __name__ == "__main__":
    {"listen": listen, "connect": connect}[sys.argv[1]](
        sys.argv[2], sys.argv[3].encode())
