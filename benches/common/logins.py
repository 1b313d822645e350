"""Either end of a login in the protocol of multiprocessing, for the bench.

    logins.py listen KEY     accepts one client after the other
    logins.py connect KEY    connects to each address on a line of standard
                             input, and prints how many seconds it took
"""

import sys
from multiprocessing.connection import Client, Listener
from time import perf_counter


def listen(key):
    with Listener(("127.0.0.1", 0), authkey=key) as listener:
        print("listening on %s:%d" % listener.address, flush=True)
        while True:
            listener.accept().close()


def connect(key):
    for line in sys.stdin:
        host, _, port = line.strip().rpartition(":")
        address = host, int(port)
        start = perf_counter()
        connection = Client(address, authkey=key)
        end = perf_counter()
        connection.close()
        print("%.9f" % (end - start), flush=True)


if __name__ == "__main__":
    {"listen": listen, "connect": connect}[sys.argv[1]](sys.argv[2].encode())
