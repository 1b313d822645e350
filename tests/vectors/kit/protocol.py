"""PROTOCOL.md in functions without state or I/O, for the cases of the kit.

Every part of a flight can be given, so that a case can get any one of them
wrong.  Nothing here takes the same time for all inputs: only the secrets of
the kit belong here.
"""

import hashlib
import hmac
import struct


def H(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


def expand(prk, info, length=32):
    output = block = b""
    for counter in range(1, -(-length // 32) + 1):
        block = H(prk, block, info, bytes([counter]))
        output += block
    return output[:length]


def lv(data):
    return bytes([len(data)]) + data


def flip(data, at, bits=1):
    """The data with bits of one octet changed."""
    data = bytearray(data)
    data[at] ^= bits
    return bytes(data)


# X25519 (RFC 7748, section 5)

P25519 = 2 ** 255 - 19


def x25519(scalar, coordinate):
    k = int.from_bytes(scalar, "little")
    k = k & ~(7 | 1 << 255) | 1 << 254
    u = int.from_bytes(coordinate, "little") % 2 ** 255 % P25519
    x2, z2, x3, z3 = 1, 0, u, 1
    for t in range(254, -1, -1):
        if swap := k >> t & 1:
            x2, x3, z2, z3 = x3, x2, z3, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb = d * a, c * b
        x3, z3 = (da + cb) ** 2 % P25519, u * (da - cb) ** 2 % P25519
        aa, bb = a * a, b * b
        e = aa - bb
        x2, z2 = aa * bb % P25519, e * (aa + 121665 * e) % P25519
        if swap:
            x2, x3, z2, z3 = x3, x2, z3, z2
    return (x2 * pow(z2, P25519 - 2, P25519) % P25519).to_bytes(32, "little")


def share(private):
    return x25519(private, (9).to_bytes(32, "little"))


# AES-256-GCM (FIPS 197, NIST SP 800-38D)

def _double(x):
    return x << 1 & 0xff ^ (0x1b if x & 0x80 else 0)


def _sbox():
    box, p, q = [0x63] * 256, 1, 1
    while True:
        p ^= _double(p)                         # times 3
        q ^= q << 1
        q ^= q << 2
        q ^= q << 4
        q &= 0xff
        q ^= 0x09 if q & 0x80 else 0            # divided by 3
        x = q
        for shift in range(1, 5):
            x ^= (q << shift | q >> 8 - shift) & 0xff
        box[p] = x ^ 0x63
        if p == 1:
            return box


SBOX = _sbox()


def _round_keys(key):
    words, constant = [list(key[i:i + 4]) for i in range(0, 32, 4)], 1
    for i in range(8, 60):
        word = words[-1]
        if i % 8 == 0:
            word = [SBOX[x] for x in word[1:] + word[:1]]
            word[0] ^= constant
            constant = _double(constant)
        elif i % 8 == 4:
            word = [SBOX[x] for x in word]
        words.append([x ^ y for x, y in zip(word, words[i - 8])])
    return [sum(words[i:i + 4], []) for i in range(0, 60, 4)]


def _block(round_keys, block):
    state = [x ^ k for x, k in zip(block, round_keys[0])]
    for number, key in enumerate(round_keys[1:], 1):
        state = [SBOX[state[(i + 4 * (i % 4)) % 16]] for i in range(16)]
        if number < 14:
            columns, state = [state[i:i + 4] for i in range(0, 16, 4)], []
            for a in columns:
                every = a[0] ^ a[1] ^ a[2] ^ a[3]
                state += [a[i] ^ every ^ _double(a[i] ^ a[(i + 1) % 4])
                          for i in range(4)]
        state = [x ^ k for x, k in zip(state, key)]
    return bytes(state)


def _multiply(x, y):
    product = 0
    for i in range(127, -1, -1):
        if x >> i & 1:
            product ^= y
        y = y >> 1 ^ (0xe1 << 120 if y & 1 else 0)
    return product


def seal(key, nonce, ad, message):
    """The ciphertext and the tag."""
    keys = _round_keys(key)
    subkey = int.from_bytes(_block(keys, bytes(16)), "big")
    stream = b"".join(_block(keys, nonce + struct.pack(">I", counter))
                      for counter in range(2, 2 + -(-len(message) // 16)))
    sealed = bytes(x ^ y for x, y in zip(message, stream))
    padded = b"".join(data + bytes(-len(data) % 16) for data in (ad, sealed))
    hashed = 0
    lengths = struct.pack(">QQ", 8 * len(ad), 8 * len(sealed))
    for i in range(0, len(padded + lengths), 16):
        part = int.from_bytes((padded + lengths)[i:i + 16], "big")
        hashed = _multiply(hashed ^ part, subkey)
    mask = _block(keys, nonce + b"\0\0\0\1")
    return sealed + (hashed ^ int.from_bytes(mask, "big")).to_bytes(16, "big")


# Keys (section 3)

class Keys:
    def __init__(self, secret):
        self.secret = secret
        self.prk = H(b"countersign/1", secret)
        self.kc, self.ks, self.kx = (
            expand(self.prk, b"countersign/1 " + words)
            for words in (b"client proof", b"server proof", b"session"))

    def child(self, key_id):
        info = b"countersign/1 child" + lv(key_id)
        return expand(self.prk, info).hex().encode("ascii")


# One handshake (sections 4 to 7)

class Handshake:
    """What both ends know of a handshake that is under way.

    ``f1``, ``f2`` and ``f3`` are flights as they crossed the wire, and the
    methods make them.  Their arguments replace what is right.
    """

    def __init__(self, mode, secret, key_id, service=b"", binding=b""):
        self.mode, self.key_id = mode, key_id
        self.keys = Keys(secret)
        self.service, self.binding = service, binding
        self.P = lv(service) + lv(binding)
        self.f1 = self.f2 = self.f3 = b""

    def challenge(self, ns, mode=None):
        return b"CSIGN1S" + bytes([self.mode if mode is None else mode]) + ns

    def response(self, nc, *, key=None, key_id=None, P=None, f1=None,
                 mode=None, tc=None):
        """F2; in mode 2 ``nc`` is the client's share."""
        key_id = self.key_id if key_id is None else key_id
        mode = self.mode if mode is None else mode
        untagged = b"CSIGN1C" + bytes([mode]) + lv(key_id) + nc
        if tc is None:
            tc = H(key or self.keys.kc, self.P if P is None else P,
                   self.f1 if f1 is None else f1, untagged)
        return untagged + tc

    @property
    def nc(self):
        return self.f2[-64:-32]

    def proved(self, *, key, gs=b"", P=None, f1=None, f2=None, letter=b"A"):
        """The MAC under ``key`` of all up to Ts."""
        return H(key, self.P if P is None else P,
                 self.f1 if f1 is None else f1,
                 self.f2 if f2 is None else f2, letter, gs)

    def verdict(self, gs=b"", *, key=None, letter=b"A", **other):
        """F3 of a server that accepts."""
        ts = self.proved(key=key or self.keys.ks, gs=gs, letter=letter,
                         **other)
        return letter + gs + ts

    def denial(self):
        return b"D" + bytes(64 if self.mode == 2 else 32)

    def session(self, gs=b"", z=None):
        return Session(self.mode, self.proved(key=self.keys.kx, gs=gs), z)


class Session:
    """The keys behind a handshake (sections 7 and 8)."""

    def __init__(self, mode, x, z=None):
        self.mode = mode
        self.exporter = x
        if mode == 1:
            self.first = {end: expand(x, b"countersign/1 record " + end)
                          for end in (b"client", b"server")}
        if mode == 2:
            xe = H(x, z)
            self.exporter = expand(xe, b"countersign/1 encrypt export")
            self.first = {end: expand(xe, b"countersign/1 encrypt " + end)
                          for end in (b"client", b"server")}

    def export(self, label, context, length):
        info = (b"countersign/1 export" + lv(label)
                + struct.pack(">H", len(context)) + context
                + struct.pack(">H", length))
        return expand(self.exporter, info, length)

    def state(self, end, step):
        """Kr in mode 1, and S[step] in mode 2."""
        state = self.first[end]
        for _ in range(step if self.mode == 2 else 0):
            state = expand(state, b"countersign/1 encrypt next")
        return state

    def record(self, end, seq, payload, *, n=None, step=None, nonce=None,
               ad=None):
        """A record from ``end``.  The last four replace what is right.

        In mode 1 the number and n are under the tag as ``nonce`` and ``ad``.
        """
        n = struct.pack(">H", len(payload) if n is None else n)
        number = struct.pack(">Q", seq)
        if self.mode == 1:
            number = number if nonce is None else nonce
            tag = H(self.state(end, 0), number, n if ad is None else ad,
                    payload)
            return n + payload + tag[:16]
        state = self.state(end, seq >> 16 if step is None else step)
        key = expand(state, b"countersign/1 encrypt key")
        nonce = bytes(4) + number if nonce is None else nonce
        return n + seal(key, nonce, n if ad is None else ad, payload)
