"""Known-answer vectors: three files, each made and checked from its inputs.

Those of mode 2 are checked and not made.
"""

import hashlib
import re
from collections import namedtuple
from itertools import zip_longest

import kit
from countersign import (
    ACCEPTED, ENCRYPT, F1_LEN, F2_LEN, HANDSHAKE_ONLY, MIN_PASSPHRASE,
    MIN_SECRET, STEP_BITS, Key, MalformedKeyFile, Sealer, Session,
    client_proof, denial, exchange, expand, lv, mac, make_f1,
    make_f2_untagged, parse_key_file, passphrase_secret, prologue,
    server_proof, session_secret, share_of, verify_client)

HANDSHAKE_COMMENT = """\
# Known-answer vectors of the countersign protocol, version 1.
#
# Vectors are separated by blank lines; each line is "field: value".  Octet
# strings are in lower-case hexadecimal and may be empty.  Not hexadecimal:
# name, expect and matched (words), fingerprint and child-secret (the ASCII
# text itself), export-length (decimal).
#
# Inputs: secret to client-nonce, where the client's secret, service and
# binding are given only if they differ from the server's, and accepted-secret
# only if the server has a second secret for the key id; export-label,
# export-context, export-length, record-*-payload-N and child-id.  All else is
# computed.  prk to fingerprint are those of the client's secret, prologue is
# the client's, f2-untagged is F2 without Tc.  The records of a direction have
# sequence numbers from 0, and the close has the next one.
#
# expect is "accepted", "denied wrong proof", or "denied unknown key id": the
# last is an input too, as it says what the server does not know.  matched is
# "first" or "second", where the server has two secrets and accepts.
"""

KEY_FILES_COMMENT = """\
# What key files hold: section 3 of the countersign protocol, version 1.
#
# Vectors are separated by blank lines; each line is "field: value".  content,
# secret and accept are octets in lower-case hexadecimal.  name, expect and
# found are words, offset is decimal.
#
# content is the input.  expect is "one secret", with secret; "two secrets",
# with secret and accept; "malformed", with what was found and at which offset
# of the file; "secret too short" or "secret constant", where the content is
# well formed and one of its secrets is refused.
"""

PASSPHRASES_COMMENT = """\
# Secrets from passphrases: section 3 of the countersign protocol, version 1.
#
# Vectors are separated by blank lines; each line is "field: value".
# passphrase, key-id and salt are octets in lower-case hexadecimal and may be
# empty.  name and expect are words, passphrase-secret and fingerprint are the
# ASCII text itself.
#
# passphrase and key-id are the inputs.  expect is "accepted", with the rest;
# "passphrase too short"; "passphrase with NUL"; "key id empty" or "key id too
# long".
"""

UNKNOWN = "denied unknown key id"
WRONG_PROOF = "denied wrong proof"


# Handshakes

def compute_handshake(
        name, expect, secret, accepted_secret=None, client_secret=None,
        key_id=b"", service=b"", client_service=None, binding=b"",
        client_binding=None, mode=0, server_nonce=b"", client_nonce=b"",
        exports=(), client_payloads=(), server_payloads=(), children=(),
        client_private=b"", server_private=b"", later=()):
    """All fields of a vector, in order, as pairs of strings.

    Of ``expect`` only UNKNOWN is an input, the other values are computed.  The
    client's values are None where they are the server's.
    """
    ours = Key(secret, key_id, accepted_secret)
    theirs = ours if client_secret is None else Key(client_secret, key_id)
    our_agreed = prologue(service, binding)
    agreed = prologue(
        service if client_service is None else client_service,
        binding if client_binding is None else client_binding)

    if mode == ENCRYPT:
        client_nonce = share_of(client_private)
    f1 = make_f1(mode, server_nonce)
    f2_untagged = make_f2_untagged(mode, key_id, client_nonce)
    if (len(f1), len(f2_untagged)) != (F1_LEN, F2_LEN - 32 + len(key_id)):
        raise ValueError("a nonce has 32 bytes")
    tc = client_proof(theirs, agreed, f1, f2_untagged)
    f2 = f2_untagged + tc
    known = None if expect == UNKNOWN else ours
    used = verify_client(known, our_agreed, f1, f2)
    if expect != UNKNOWN:
        expect = "accepted" if used else WRONG_PROOF
    share = share_of(server_private) if used and mode == ENCRYPT else b""
    ts = used and server_proof(used, our_agreed, f1, f2, share)

    fields = [("name", name), ("expect", expect)]

    def add(field, data):
        fields.append((field, data.hex()))

    def add_client(field, data, server_data):
        if data is not None and data != server_data:
            add(field, data)

    add("secret", secret)
    if accepted_secret is not None:
        add("accepted-secret", accepted_secret)
    add_client("client-secret", client_secret, secret)
    add("key-id", key_id)
    add("service", service)
    add_client("client-service", client_service, service)
    add("binding", binding)
    add_client("client-binding", client_binding, binding)
    add("mode", bytes([mode]))
    add("server-nonce", server_nonce)
    if mode != ENCRYPT:
        add("client-nonce", client_nonce)
    else:
        add("client-private", client_private)
        if used:
            add("server-private", server_private)
    add("prk", theirs.prk)
    add("kc", theirs.kc)
    add("ks", theirs.ks)
    add("kx", theirs.kx)
    fields.append(("fingerprint", theirs.fingerprint()))
    add("prologue", agreed)
    if mode == ENCRYPT:
        add("client-share", client_nonce)
    add("f1", f1)
    add("f2-untagged", f2_untagged)
    add("tc", tc)
    add("f2", f2)
    if share:
        add("server-share", share)
    add("f3", ACCEPTED + share + ts if used else denial(mode))
    if used:
        if accepted_secret is not None:
            place = "first" if used is ours else "second"
            fields.append(("matched", place))
        secret_x = session_secret(used, our_agreed, f1, f2, share)
        shared = None
        add("ts", ts)
        add("x", secret_x)
        if mode == ENCRYPT:
            shared = exchange(client_private, share)
            if exchange(server_private, client_nonce) != shared:
                raise ValueError("the ends do not agree on z")
            xe = mac(secret_x, shared)
            add("z", shared)
            add("xe", xe)
            add("ke", expand(xe, b"countersign/1 encrypt export", 32))
        session = Session(secret_x, key_id, mode, shared=shared)
        for label, context, length in exports:
            add("export-label", label)
            add("export-context", context)
            fields.append(("export-length", str(length)))
            add("export-output", session.export(label, context, length))
        if mode != HANDSHAKE_ONLY:
            krc, krs = session.record_keys()
            if mode != ENCRYPT:
                add("krc", krc)
                add("krs", krs)
            for end, key, payloads in (("client", krc, client_payloads),
                                       ("server", krs, server_payloads)):
                fields += compute_direction(
                    end, mode, key, payloads,
                    [record for record in later if record[0] == end])
    for child in children:
        add("child-id", child)
        fields.append(("child-secret",
                       theirs.child_secret(child).decode("ascii")))
    return fields


def compute_direction(end, mode, key, payloads, later):
    """The fields of the records of one direction."""
    fields, states = [], []

    def add(field, data):
        fields.append((field, data.hex()))

    def step(number):
        while len(states) <= number:
            state = key if not states else expand(
                states[-1], b"countersign/1 encrypt next", 32)
            add("state-%s-%d" % (end, len(states)), state)
            add("key-%s-%d" % (end, len(states)),
                expand(state, b"countersign/1 encrypt key", 32))
            states.append(state)
        return states[number]

    sealer = Sealer(step(0) if mode == ENCRYPT else key, mode)
    for number, payload in enumerate(payloads):
        add("record-%s-payload-%d" % (end, number), payload)
        add("record-%s-%d" % (end, number), sealer.seal(payload))
    add("record-%s-close" % end, sealer.close())
    # What the end would have sent, had it gone on in place of its close.
    for _, kind, number, value in later:
        sealer = Sealer(step(number >> STEP_BITS), mode, number)
        if kind == "payload":
            add("later-%s-payload-%d" % (end, number), value)
            add("later-%s-%d" % (end, number), sealer.seal(value))
        else:
            fields.append(("later-%s-pattern-%d" % (end, number), str(value)))
            record = sealer.seal(bytes(i & 255 for i in range(value)))
            add("later-%s-sha256-%d" % (end, number),
                hashlib.sha256(record).digest())
    return fields


def fixed(label, length=32):
    """Bytes that look random and are always the same."""
    return expand(hashlib.sha256(label.encode("ascii")).digest(), b"", length)


def handshakes():
    """The inputs of every vector, as arguments of ``compute_handshake``."""
    k63 = fixed("a secret of 63 octets", 63)
    k1000 = fixed("a secret of 1000 octets", 1000)
    k32 = fixed("a secret of 32 octets")
    # What a key file usually holds: the digits themselves are the secret.
    text = fixed("a secret in hexadecimal").hex().encode("ascii")
    tls = b"tls-exporter:" + fixed("a TLS connection")
    billing = b"billing/2"
    old, new = (fixed(place + " secret of a rotation").hex().encode("ascii")
                for place in ("the old", "the new"))
    # What a server accepts once the new secret is on it.
    rotating = dict(secret=old, accepted_secret=new, key_id=b"node7",
                    service=billing)

    accepted = [
        dict(name="the shortest secret, no key id, no service, no binding",
             secret=bytes(range(16)),
             exports=[(b"a", b"", 1), (b"a", b"", 32)]),
        dict(name="a hexadecimal secret, a key id of 5 octets, a service of 9",
             secret=text, key_id=b"node7", service=billing,
             exports=[(b"example label", b"", 33),
                      (b"example label", b"a context", 64),
                      (b"example label", bytes(257), 100)],
             children=[b"n", b"node7", bytes(range(192, 256))]),
        dict(name="a child secret, used with its own id",
             secret=Key(text).child_secret(b"node7"), key_id=b"node7",
             service=billing),
        dict(name="a key id of 64 octets, a service and a binding of 255",
             secret=k32, key_id=bytes(range(192, 256)),
             service=bytes(range(255)), binding=bytes(range(255, 0, -1)),
             exports=[(bytes(range(255)), b"", 32)]),
        dict(name="a tls-exporter binding", secret=k32, key_id=b"node7",
             service=b"billing/2@node-7", binding=tls),
        dict(name="a secret k of 63 octets", secret=k63),
        dict(name="a secret of 64 octets which is k and a zero octet",
             secret=k63 + b"\0"),
        dict(name="a secret of 65 octets which is k and two zero octets",
             secret=k63 + b"\0\0"),
        dict(name="a long secret of 1000 octets", secret=k1000),
        dict(name="a secret which is the SHA-256 of the long one",
             secret=hashlib.sha256(k1000).digest()),
        dict(name="records, with nothing named", secret=k32, mode=1,
             client_payloads=[b"a", b"hello"],
             server_payloads=[b"\0", b"world"]),
        dict(name="records, with everything named, one of 257 octets",
             secret=text, key_id=b"node7", service=billing, binding=tls,
             mode=1, exports=[(b"example label", b"a context", 32)],
             client_payloads=[b"hello", fixed("a payload", 257)],
             server_payloads=[b"world", b"a"]),
        dict(name="records, with only the closes", secret=k32, mode=1),
        dict(rotating, name="two secrets, of which the first matches"),
        dict(rotating, name="two secrets, of which the second matches",
             client_secret=new, exports=[(b"example label", b"", 32)]),
        dict(rotating, name="two secrets, the second matches, and records",
             client_secret=new, binding=tls, mode=1,
             client_payloads=[b"hello"], server_payloads=[b"world"]),
        dict(rotating, name="the children of two secrets of a parent",
             secret=Key(old).child_secret(b"node7"),
             accepted_secret=Key(new).child_secret(b"node7"),
             client_secret=Key(new).child_secret(b"node7")),
    ]
    unknown = [
        dict(name="a key id that the server does not know", secret=k32,
             key_id=b"nobody", service=billing),
        dict(name="no key id where the server expects one", secret=k32),
        dict(rotating, name="an unknown key id with a secret that is known",
             client_secret=new, key_id=b"nobody"),
    ]
    wrong = [
        dict(name="another secret", secret=k32, client_secret=text,
             key_id=b"node7"),
        dict(name="a secret with a zero octet appended", secret=k63,
             client_secret=k63 + b"\0"),
        dict(name="the SHA-256 of a long secret in its place",
             secret=fixed("a secret of 65 octets", 65),
             client_secret=hashlib.sha256(
                 fixed("a secret of 65 octets", 65)).digest()),
        dict(name="the child secret of another id", key_id=b"node7",
             secret=Key(text).child_secret(b"node7"),
             client_secret=Key(text).child_secret(b"node8")),
        dict(name="another service", secret=k32, service=billing,
             client_service=b"billing/3"),
        dict(name="another binding", secret=k32, binding=tls,
             client_binding=b"tls-exporter:" + fixed("another connection")),
        dict(name="no binding at the client", secret=k32, binding=tls,
             client_binding=b""),
        dict(name="the same octets divided otherwise into service and binding",
             secret=k32, service=b"billing", binding=b"/2",
             client_service=b"billing/", client_binding=b"2"),
        dict(rotating, name="two secrets, of which neither matches",
             client_secret=text),
        dict(rotating, name="the old secret when it is no longer accepted",
             secret=new, accepted_secret=None, client_secret=old),
        dict(rotating, name="the second secret for another service",
             client_secret=new, client_service=b"billing/3"),
    ]
    for expect, group in (("accepted", accepted), (UNKNOWN, unknown),
                          (WRONG_PROOF, wrong)):
        for vector in group:
            yield dict(vector, expect=expect,
                       server_nonce=fixed("server: " + vector["name"]),
                       client_nonce=fixed("client: " + vector["name"]))


def inputs_of_handshake(fields):
    """The arguments of ``compute_handshake`` in the fields of a vector."""
    arguments = dict(exports=[], children=[], client_payloads=[],
                     server_payloads=[], later=[])
    byte_fields = ("secret", "accepted-secret", "client-secret", "key-id",
                   "service", "client-service", "binding", "client-binding",
                   "server-nonce", "client-nonce", "client-private",
                   "server-private")
    for field, value in fields:
        if field in ("name", "expect"):
            arguments[field] = value
        elif field in byte_fields:
            arguments[field.replace("-", "_")] = bytes.fromhex(value)
        elif field == "mode":
            arguments["mode"] = int(value, 16)
        elif field == "export-label":
            label = bytes.fromhex(value)
        elif field == "export-context":
            context = bytes.fromhex(value)
        elif field == "export-length":
            arguments["exports"].append((label, context, int(value)))
        elif field == "child-id":
            arguments["children"].append(bytes.fromhex(value))
        elif field.startswith("record-client-payload-"):
            arguments["client_payloads"].append(bytes.fromhex(value))
        elif field.startswith("record-server-payload-"):
            arguments["server_payloads"].append(bytes.fromhex(value))
        elif re.match("later-.*-(payload|pattern)-", field):
            _, end, kind, number = field.split("-")
            arguments["later"].append(
                (end, kind, int(number), int(value) if kind == "pattern"
                 else bytes.fromhex(value)))
    return arguments


# Key files

def compute_key_file(name, content, **_):
    """All fields of a vector."""
    fields = [("name", name), ("expect", "malformed"),
              ("content", content.hex())]
    try:
        secrets = parse_key_file(content)
    except MalformedKeyFile as malformed:
        return fields + [("found", malformed.found),
                         ("offset", str(malformed.offset))]
    given = [secret for secret in secrets if secret is not None]
    for secret in given:
        try:
            Key(secret)
        except ValueError:
            short = len(secret) < MIN_SECRET
            fields[1] = ("expect", "secret too short" if short
                         else "secret constant")
            return fields
    fields[1] = ("expect", "two secrets" if secrets.accepted else "one secret")
    return fields + [(field, secret.hex())
                     for field, secret in zip(("secret", "accept"), given)]


def key_file_vectors():
    """The inputs of every vector, with the outcome that is meant."""
    text = fixed("a secret in a key file").hex().encode("ascii")
    other = fixed("another secret in it").hex().encode("ascii")
    wrapped = b"c2VjcmV0cyBmcm9tIGEgZ2VuZXJhdG9yIG9m\nIHJhbmRvbSBvY3RldHM=\n"
    one, two, malformed = "one secret", "two secrets", "malformed"
    accept = b"accept:" + other
    for expect, name, content in (
            (one, "a line without a line ending", text),
            (one, "a line that ends with LF", text + b"\n"),
            (one, "a line that ends with CRLF", text + b"\r\n"),
            (one, "every octet that is allowed", bytes(range(0x21, 0x7f))),
            (one, "digits in upper case, which stay so", text.upper()),
            (one, "a secret of 16 octets", b"0123456789abcdef\n"),
            (one, "a quotation mark in front only", b'"' + text + b"\n"),
            (one, "a quotation mark at the end only", text + b"'\n"),
            (one, "two quotation marks that differ", b"'" + text + b'"\n'),
            (two, "two lines", text + b"\n" + accept + b"\n"),
            (two, "two lines, the last one without an ending",
             text + b"\n" + accept),
            (two, "two lines that end with CRLF",
             text + b"\r\n" + accept + b"\r\n"),
            (two, "LF and then CRLF", text + b"\n" + accept + b"\r\n"),
            (two, "the same secret twice", text + b"\naccept:" + text),
            (two, "accept: twice in the second line",
             text + b"\naccept:" + accept),
            (two, "a quotation mark behind accept: only",
             text + b"\naccept:'" + other + b"\n"),
            ("secret too short", "15 octets", b"0123456789abcde\n"),
            ("secret too short", "a second secret of 15 octets",
             text + b"\naccept:0123456789abcde\n"),
            ("secret constant", "one octet over and over", b"A" * 32),
            ("secret constant", "a second secret of one octet",
             text + b"\naccept:" + b"0" * 64 + b"\n"),
            (malformed, "an empty file", b""),
            (malformed, "only LF", b"\n"),
            (malformed, "only CRLF", b"\r\n"),
            (malformed, "an empty first line", b"\n" + text + b"\n"),
            (malformed, "the byte order mark of UTF-8",
             b"\xef\xbb\xbf" + text),
            (malformed, "UTF-16, least significant octet first",
             b"\xff\xfe" + text.decode("ascii").encode("utf-16-le")),
            (malformed, "UTF-16, most significant octet first",
             b"\xfe\xff" + text.decode("ascii").encode("utf-16-be")),
            (malformed, "UTF-16 without a mark",
             text.decode("ascii").encode("utf-16-le")),
            (malformed, "a PEM file",
             b"-----BEGIN PRIVATE KEY-----\n" + wrapped),
            (malformed, "NUL", text + b"\0"),
            (malformed, "a space at the end", text + b" \n"),
            (malformed, "a tab at the end", text + b"\t\n"),
            (malformed, "a space in front", b" " + text + b"\n"),
            (malformed, "an assignment", b'KEY = "' + text + b'"\n'),
            (malformed, "double quotation marks", b'"' + text + b'"\n'),
            (malformed, "single quotation marks", b"'" + text + b"'"),
            (malformed, "quotation marks and CRLF", b'"' + text + b'"\r\n'),
            (malformed, "a quotation mark alone", b"'\n"),
            (malformed, "quotation marks over and over", b'"' * 32),
            (malformed, "quotation marks and a space between them",
             b'"' + text + b' "\n'),
            (malformed, "quotation marks before an empty line",
             b"'" + text + b"'\n\n"),
            (malformed, "a lone CR", text + b"\r"),
            (malformed, "two CR and LF", text + b"\r\r\n"),
            (malformed, "DEL", text + b"\x7f\n"),
            (malformed, "an octet above 7f", text + b"\xc3\xa9\n"),
            (malformed, "octets that are not text", bytes(range(1, 33))),
            (malformed, "a second line ending", text + b"\n\n"),
            (malformed, "a second line ending CRLF", text + b"\r\n\r\n"),
            (malformed, "base64 of two lines", wrapped),
            (malformed, "Accept: with a capital", text + b"\nA" + accept[1:]),
            (malformed, "a space before accept:", text + b"\n " + accept),
            (malformed, "a bare second line with NUL", text + b"\n\0"),
            (malformed, "nothing behind accept:", text + b"\naccept:\n"),
            (malformed, "a space behind accept:",
             text + b"\naccept: " + other + b"\n"),
            (malformed, "an octet above 7f behind accept:",
             text + b"\n" + accept + b"\xff\n"),
            (malformed, "double quotation marks behind accept:",
             text + b'\naccept:"' + other + b'"\n'),
            (malformed, "single quotation marks behind accept:",
             text + b"\naccept:'" + other + b"'\r\n"),
            (malformed, "quotation marks around accept: and its secret",
             text + b'\n"' + accept + b'"\n'),
            (malformed, "quotation marks behind accept: before a third line",
             text + b"\naccept:'" + other + b"'\n\n"),
            (malformed, "an empty third line",
             text + b"\n" + accept + b"\n\n"),
            (malformed, "a third line",
             text + b"\n" + accept + b"\n" + accept + b"\n"),
            (malformed, "accept: in the first line", accept + b"\n"),
            (malformed, "accept: behind the secret, without a line end between",
             text + accept + b"\n"),
            (malformed, "the lines in the wrong order",
             accept + b"\n" + text + b"\n")):
        yield dict(name=name, expect=expect, content=content)


def inputs_of_key_file(fields):
    """The arguments of ``compute_key_file``."""
    given = dict(fields)
    return dict(name=given["name"], content=bytes.fromhex(given["content"]))


# Passphrases

def compute_passphrase(name, passphrase, key_id, **_):
    """All fields of a vector."""
    fields = [("name", name), ("expect", "accepted"),
              ("passphrase", passphrase.hex()), ("key-id", key_id.hex())]
    try:
        secret = passphrase_secret(passphrase, key_id)
    except ValueError:
        fields[1] = ("expect", "passphrase too short"
                     if len(passphrase) < MIN_PASSPHRASE
                     else "passphrase with NUL" if 0 in passphrase
                     else "key id too long" if key_id else "key id empty")
        return fields
    salt = b"countersign/1 passphrase" + lv(key_id)
    return fields + [("salt", salt.hex()),
                     ("passphrase-secret", secret.decode("ascii")),
                     ("fingerprint", Key(secret).fingerprint())]


def passphrases():
    """The inputs of every vector, with the outcome that is meant."""
    horse = b"correct horse battery staple"
    for expect, name, passphrase, key_id in (
            ("accepted", "four words", horse, b"laptop-3"),
            ("accepted", "the same for another key id", horse, b"laptop-4"),
            ("accepted", "any octets but NUL, and a key id of 64",
             bytes(range(248, 256)) + b"\1\n", bytes(range(192, 256))),
            ("passphrase too short", "7 octets", b"7 bytes", b"laptop-3"),
            ("passphrase with NUL", "8 octets 00", bytes(8), b"laptop-3"),
            ("passphrase with NUL", "NUL at the end", horse + b"\0",
             b"laptop-3"),
            ("passphrase with NUL", "NUL within, behind 64 octets",
             b"x" * 64 + b"\0x", b"laptop-3"),
            ("key id empty", "no key id", horse, b""),
            ("key id too long", "a key id of 65", horse, b"a" * 65)):
        yield dict(name=name, expect=expect, passphrase=passphrase,
                   key_id=key_id)


def inputs_of_passphrase(fields):
    """The arguments of ``compute_passphrase``."""
    given = dict(fields)
    return dict(name=given["name"],
                passphrase=bytes.fromhex(given["passphrase"]),
                key_id=bytes.fromhex(given["key-id"]))


# Files

# What a file is made of.  The field is one that no other kind has.
Kind = namedtuple("Kind", "field comment inputs compute inputs_of")

KINDS = {
    "handshake": Kind("f1", HANDSHAKE_COMMENT, handshakes,
                      compute_handshake, inputs_of_handshake),
    "key-files": Kind("content", KEY_FILES_COMMENT, key_file_vectors,
                      compute_key_file, inputs_of_key_file),
    "passphrases": Kind("passphrase", PASSPHRASES_COMMENT, passphrases,
                        compute_passphrase, inputs_of_passphrase),
}

# The fields of a case of the kit are recomputed one by one.
CASES = {"receives": kit.exchange, "skip": kit.records, "input": kit.one_input}


def format_vectors(name):
    """The text of a vector file."""
    kind = KINDS[name]
    blocks = [kind.comment]
    for vector in kind.inputs():
        fields = kind.compute(**vector)
        if fields[1] != ("expect", vector["expect"]):
            raise AssertionError("not as meant: " + vector["name"])
        blocks.append("".join(
            ("%s: %s" % pair).rstrip() + "\n" for pair in fields))
    return "\n".join(blocks)


def parse_vectors(text):
    """The fields of each vector of a file, as pairs of strings."""
    vectors, fields = [], []
    for line in text.splitlines() + [""]:
        if line.startswith("#"):
            continue
        if line:
            field, colon, value = line.partition(":")
            if not colon or (value and not value.startswith(" ")):
                raise ValueError("not a field: %r" % line)
            fields.append((field, value[1:]))
        elif fields:
            vectors.append(fields)
            fields = []
    return vectors


def in_order(fields):
    """By name, since files differ in their order.  A name may be repeated."""
    return sorted(fields, key=lambda field: field[0])


def differences(fields):
    """What is wrong with a vector, as sentences."""
    given = dict(fields)
    try:
        # Records are received too.
        case = [run for field, run in CASES.items() if field in given]
        if case:
            computed = case[-1](fields)
        else:
            kind = next(kind for kind in KINDS.values()
                        if kind.field in given)
            computed = kind.compute(**kind.inputs_of(fields))
    except StopIteration:
        return ["is of no kind that is known"]
    except (KeyError, TypeError, ValueError, UnboundLocalError) as error:
        return ["cannot be computed: %s" % error]
    found = []
    for given, wanted in zip_longest(in_order(fields), in_order(computed),
                                     fillvalue=("", "")):
        if given[0] != wanted[0]:
            # From here on the two lists do not match.
            found.append("field %s where %s belongs" % (
                given[0] or "(end)", wanted[0] or "(end)"))
            break
        if given[1] != wanted[1]:
            found.append("%s is %s, computed %s" % (
                given[0], given[1], wanted[1]))
    return found


def check_file(path):
    """Recompute a vector file; true if nothing differs."""
    with open(path, encoding="ascii") as file:
        vectors = parse_vectors(file.read())
    spoken = [fields for fields in vectors
              if int(dict(fields).get("mode", "0")) in kit.MODES]
    if len(spoken) < len(vectors):
        print("NOT RUN: %d of mode 2, which needs the package cryptography"
              % (len(vectors) - len(spoken)))
    vectors, failed = spoken, 0
    for number, fields in enumerate(vectors, 1):
        found = differences(fields)
        failed += bool(found)
        name = dict(fields).get("name", "vector %d" % number)
        for sentence in found:
            print("%s: %s" % (name, sentence))
    print("%d passed, %d failed" % (len(vectors) - failed, failed))
    # A file without vectors proves nothing.
    return bool(vectors) and not failed
