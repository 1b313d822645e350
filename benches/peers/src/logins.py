"""Either end of a login in Python, for the bench.

    logins.py listen WIRE SECRET     accepts one client after the other
    logins.py connect WIRE SECRET    reads lines "ADDRESS TIMES" from standard
                                     input, logs in this number of times, and
                                     prints the nanoseconds of each login

WIRE is "recipe" or "multiprocessing".  Both end when their standard input
does.  PYTHONPATH has the directory of the recipe.
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


# In both protocols the client sends last and stops its clock before the listener
# has succeeded, so the listener sends its time.  This is not part of the login.

def say_when(connection):
    # All processes share this clock.
    succeeded = perf_counter_ns()
    os.write(connection.fileno(), b"%d" % succeeded)


def hear_when(connection):
    said = b""
    # To the end, so that the listener's closing is not part of the next login.
    while part := os.read(connection.fileno(), 64):
        said += part
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
