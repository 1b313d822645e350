#!/usr/bin/env python3
"""The well known recipe: authenticating clients simply, with hmac.

After "Authenticating Clients Simply" in the Python Cookbook, with SHA-256.
The server sends 32 random bytes, the client sends back their HMAC under the
shared secret, and that is all: there is no framing, and only the client is
authenticated.

    recipe.py serve --secret SECRET [--listen HOST:PORT] [--connections N]
    recipe.py connect --connect HOST:PORT --secret SECRET [MESSAGE]
"""

import argparse
import hmac
import os
import socket
import sys

CHALLENGE_LEN = 32


def server_authenticate(connection, secret_key):
    """True if the client at the other end knows the secret."""
    message = os.urandom(CHALLENGE_LEN)
    connection.sendall(message)
    digest = hmac.new(secret_key, message, "sha256").digest()
    # A single call, as in the recipe.  It is a known weakness: a stream may
    # deliver less at a time, so an honest client whose digest arrives in two
    # segments is rejected.
    response = connection.recv(len(digest))
    return hmac.compare_digest(digest, response)


def client_authenticate(connection, secret_key):
    """Answer the challenge.

    Nothing comes back: the client learns neither whether it was accepted nor
    who asked, and it signs whatever it is sent.
    """
    message = connection.recv(CHALLENGE_LEN)
    digest = hmac.new(secret_key, message, "sha256").digest()
    connection.sendall(digest)


def address(text):
    """(host, port) of HOST:PORT."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError("%r is not HOST:PORT" % text)
    return host.strip("[]"), int(port)


def listen(where):
    """A listening socket, announced on stdout with its real port."""
    family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
    listener = socket.create_server(where, family=family)
    host, port = listener.getsockname()[:2]
    if family == socket.AF_INET6:
        host = "[%s]" % host
    print("listening on %s:%d" % (host, port), flush=True)
    return listener


def say(text):
    """A line on stderr, at once."""
    print(text, file=sys.stderr, flush=True)


def serve_one(connection, secret):
    """Authenticate and echo; true if the client was accepted."""
    try:
        if not server_authenticate(connection, secret):
            say("refused: wrong digest")
            return False
    except OSError as error:
        say("refused: %s" % error)
        return False
    say("accepted")
    try:
        while True:
            data = connection.recv(65536)
            if not data:
                break
            connection.sendall(data)
    except OSError:
        pass  # it was accepted all the same
    return True


def command_serve(options):
    secret = os.fsencode(options.secret)
    refused = 0
    with listen(options.listen) as listener:
        for _ in range(options.connections):
            connection = listener.accept()[0]
            with connection:
                # The recipe itself has no timeout.
                connection.settimeout(5.0)
                refused += not serve_one(connection, secret)
    return 1 if refused else 0


def command_connect(options):
    message = os.fsencode(options.message)
    answer = b""
    with socket.create_connection(options.connect, 5.0) as connection:
        client_authenticate(connection, os.fsencode(options.secret))
        connection.sendall(message)
        connection.shutdown(socket.SHUT_WR)
        while True:
            data = connection.recv(65536)
            if not data:
                break
            answer += data
    # A close is the only sign of a refusal.
    if answer != message:
        say("The server closed the connection.")
        return 1
    sys.stdout.buffer.write(answer + b"\n")
    sys.stdout.buffer.flush()
    return 0


def main():
    sys.dont_write_bytecode = True
    parser = argparse.ArgumentParser(
        description="The recipe for authenticating clients simply.")
    commands = parser.add_subparsers(dest="command", required=True)

    serve = commands.add_parser("serve", help="authenticate clients and echo")
    serve.add_argument("--secret", required=True)
    serve.add_argument("--listen", metavar="HOST:PORT", type=address,
                       default="127.0.0.1:0")
    serve.add_argument("--connections", metavar="N", type=int, default=1)
    serve.set_defaults(run=command_serve)

    connect = commands.add_parser("connect", help="send a message to an echo")
    connect.add_argument("--connect", metavar="HOST:PORT", type=address,
                         required=True)
    connect.add_argument("--secret", required=True)
    connect.add_argument("message", metavar="MESSAGE", nargs="?",
                         default="Hello World")
    connect.set_defaults(run=command_connect)

    options = parser.parse_args()
    try:
        return options.run(options)
    except OSError as error:
        say("The connection failed: %s." % error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
