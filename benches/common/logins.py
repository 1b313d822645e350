"""Either end of a login on multiprocessing's wire, for the bench to time.

    logins.py listen KEY     accepts one client after the other
    logins.py connect KEY    connects to each address that a line of standard
                             input names, and says how many seconds it took
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
