#!/usr/bin/env node
// countersign, version 1: another implementation, for Node.js 18 and later, written from PROTOCOL.md alone.
// The numbers in comments are sections of that document.
//
// Two limits of the language. Buffers are overwritten after use, but a KeyObject, the state of a hash and a string
// cannot be: they are dropped and wait for the collector. And Node reads ahead of its caller, up to 64 KiB. The octets
// behind a flight therefore leave the kernel early, but stay in the stream, for whoever reads it next.

import {
  createCipheriv, createDecipheriv, createHash, createHmac, createPrivateKey, createPublicKey, diffieHellman,
  randomBytes, randomInt, scryptSync, timingSafeEqual,
} from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

// The modes.
export const AUTHENTICATE = 0;
export const PROTECT = 1;
export const ENCRYPT = 2;

/** How a handshake, a record or a key failed. `outcome` is in the words of the specification, where it has any. */
export class Outcome extends Error {
  constructor(outcome, details = {}) {
    super(outcome, { cause: details.cause });
    this.outcome = outcome;
    this.details = details;
  }
}

// --- Notation (2) ----------------------------------------------------------------------------------------------------

const octets = (x) => (ArrayBuffer.isView(x) ? Buffer.from(x.buffer, x.byteOffset, x.byteLength) : Buffer.from(x));
const join = (...parts) => Buffer.concat(parts.map(octets));
const u16 = (x) => Buffer.from([x >> 8, x & 255]);
const wipe = (...buffers) => { for (const b of buffers) b?.fill(0); };

function u64(x) {
  const b = Buffer.alloc(8);
  b.writeBigUInt64BE(x);
  return b;
}

function LV(x) {
  const b = octets(x);
  if (b.length > 255) throw new RangeError('longer than 255 octets');
  return join([b.length], b);
}

function H(key, ...message) {
  const hmac = createHmac('sha256', key);
  for (const part of message) hmac.update(octets(part)); // Not joined: a copy of a secret would stay behind.
  return hmac.digest();
}

function expand(prk, info, length) {
  const blocks = [];
  let block = Buffer.alloc(0);
  for (let i = 1; blocks.length * 32 < length; i++) blocks.push(block = H(prk, block, info, [i]));
  const all = Buffer.concat(blocks);
  wipe(...blocks);
  return all.subarray(0, length);
}

// Node wraps keys in DER. All that stands before the 32 octets is constant.
const PKCS8 = Buffer.from('302e020100300506032b656e04220420', 'hex');
const SPKI = Buffer.from('302a300506032b656e032100', 'hex');

function privateKey(scalar) {
  const der = join(PKCS8, scalar);
  try {
    return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  } finally {
    wipe(der);
  }
}

const share = (scalar) => createPublicKey(privateKey(scalar)).export({ format: 'der', type: 'spki' }).subarray(12);

/** Z, or null if it is zero: OpenSSL compares for us, in constant time, and reports that as an error. */
function exchange(scalar, coordinate) {
  const publicKey = createPublicKey({ key: join(SPKI, coordinate), format: 'der', type: 'spki' });
  try {
    return diffieHellman({ privateKey: privateKey(scalar), publicKey });
  } catch (error) {
    if (error.code === 'ERR_OSSL_FAILED_DURING_DERIVATION') return null;
    throw error;
  }
}

/** 32 octets of the operating system. crypto.randomBytes will not do: it is OpenSSL's generator, in user space (5). */
function systemRandom() {
  let file;
  try {
    file = fs.openSync('/dev/urandom', 'r');
    const b = Buffer.alloc(32);
    // A sandbox may have a plain file in the place of the device.
    if (!fs.fstatSync(file).isCharacterDevice()) throw new Error('/dev/urandom is not a device');
    if (fs.readSync(file, b, 0, 32, null) !== 32) throw new Error('/dev/urandom is short');
    return b;
  } finally {
    if (file !== undefined) fs.closeSync(file);
  }
}

/** Tests put a generator here, to make one fail. No option does it, so that no application is tempted. */
export const forTests = { random: systemRandom };

function draw() {
  try {
    return forTests.random();
  } catch (cause) {
    throw new Outcome('generator failed', { cause });
  }
}

// --- Secret and keys (3) ---------------------------------------------------------------------------------------------

function deriveKeys(secret) {
  const prk = H('countersign/1', secret);
  const [kc, ks, kx] = ['client proof', 'server proof', 'session'].map((u) => expand(prk, `countersign/1 ${u}`, 32));
  return { prk, kc, ks, kx };
}

const childSecret = (prk, id) => expand(prk, join('countersign/1 child', LV(id)), 32).toString('hex');
const fingerprint = (prk) => expand(prk, 'countersign/1 fingerprint', 4 * 8).toString('hex', 0, 4);

function checkKeyId(id, least) {
  const b = octets(id);
  if (b.length < least || b.length > 64) throw new RangeError(`a key id here has ${least} to 64 octets`);
  return b;
}

function passphraseSecret(passphrase, keyId) {
  const words = octets(passphrase);
  if (words.length < 8) throw new Outcome('passphrase too short');
  // It becomes the key of an HMAC, which is filled up with NULs.
  if (words.includes(0)) throw new Outcome('passphrase with NUL');
  const salt = join('countersign/1 passphrase', LV(checkKeyId(keyId, 1)));
  const raw = scryptSync(words, salt, 32, { N: 65536, r: 8, p: 2, maxmem: 128 << 20 });
  try {
    return { salt, secret: raw.toString('hex') };
  } finally {
    wipe(raw);
  }
}

export class Key {
  #k;
  /** The only key id for which this key may be used, or null for any. */
  keyId = null;

  /** The secret is not kept, nor wiped: it belongs to the caller. */
  constructor(secret) {
    const b = octets(secret);
    if (b.length < 16) throw new Outcome('secret too short');
    if (b.every((octet) => octet === b[0])) throw new Outcome('secret constant');
    this.#k = deriveKeys(b);
  }

  static #bound(secret, id) {
    const key = new Key(secret);
    key.keyId = Buffer.from(id);
    return key;
  }

  static fromPassphrase(passphrase, keyId) { return Key.#bound(passphraseSecret(passphrase, keyId).secret, keyId); }

  /** The keys of a key file: the first, and the second while the secret is rotated. */
  static fromFile(file) {
    const data = readKeyFile(file);
    try {
      return parseKeyFile(data).map((secret) => new Key(secret));
    } finally {
      wipe(data);
    }
  }

  child(id) { return Key.#bound(this.childSecret(id), id); }
  childSecret(id) { return childSecret(this.#k.prk, checkKeyId(id, 1)); }
  fingerprint() { return fingerprint(this.#k.prk); }
  clientProof(...message) { return H(this.#k.kc, ...message); }
  serverProof(...message) { return H(this.#k.ks, ...message); }
  sessionSecret(...message) { return H(this.#k.kx, ...message); }
  mayServe(id) { return this.keyId === null || this.keyId.equals(octets(id)); }
  wipe() { wipe(...Object.values(this.#k)); }
}

/** The look-up of a server that holds a parent: every id has a child, unless it was withdrawn. */
export function childLookup(parents, refused = []) {
  return (id) => (id.length === 0 || refused.some((r) => octets(r).equals(id)) ? [] : parents.map((p) => p.child(id)));
}

/** One or two secrets, as views into the data. The order of the checks is that of the table in 3. */
export function parseKeyFile(data) {
  const fail = (found, offset) => { throw new Outcome(`${found} at offset ${offset}`, { found, offset }); };
  const checkSecret = (from, to) => {
    for (let i = from; i < to; i++) {
      const b = data[i];
      if (b === 0) fail('nul', i);
      if (b === 9 || b === 32) fail('space', i);
      if (b < 32 || b === 127) fail('control', i);
      if (b >= 128) fail('not ascii', i);
    }
    if (data[from] === data[to - 1] && [0x22, 0x27].includes(data[from])) fail('quoted', from);
  };
  const begins = (mark, at = 0) => data.subarray(at, at + mark.length).equals(octets(mark));
  const lineAt = (start) => {
    const lf = data.indexOf('\n', start);
    if (lf < 0) return { end: data.length, next: data.length };
    return { end: lf > start && begins('\r', lf - 1) ? lf - 1 : lf, next: lf + 1 };
  };

  if (data.length > 65536) fail('more than 65536 octets', 65536);
  if (begins([0xef, 0xbb, 0xbf])) fail('byte order mark', 0);
  if (begins([0xff, 0xfe]) || begins([0xfe, 0xff])) fail('utf-16', 0);
  if (begins('-----BEGIN')) fail('pem', 0);
  const first = lineAt(0);
  const misplaced = data.subarray(0, first.end).indexOf('accept:');
  if (misplaced >= 0) fail('accept first', misplaced);
  if (first.end === 0) fail('nothing', 0);
  checkSecret(0, first.end);
  const secrets = [data.subarray(0, first.end)];
  if (first.next < data.length) {
    const second = lineAt(first.next);
    if (second.end === first.next) fail('empty line', first.next);
    const from = first.next + 'accept:'.length;
    if (!begins('accept:', first.next)) fail('second line', first.next);
    if (second.end === from) fail('nothing', from);
    checkSecret(from, second.end);
    if (second.next < data.length) fail('third line', second.next);
    secrets.push(data.subarray(from, second.end));
  }
  return secrets;
}

const hasOwners = process.platform !== 'win32';

function checkMode(stat) {
  if (!hasOwners) return;
  const mode = Number(stat.mode);
  if (mode & 0o022) throw new Outcome('others may write it');
  if (mode & 0o004) throw new Outcome('others may read it');
  if (mode & 0o040 && Number(stat.uid) !== 0) throw new Outcome('its group may read it');
}

const AT_REST_MS = 20;
const pause = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

/** By both times: a writer may set the time of the content back. A time to come says nothing. */
const isAtRest = ({ mtimeMs, ctimeMs }) => [mtimeMs, ctimeMs].every((t) => Math.abs(Date.now() - Number(t)) >= AT_REST_MS);

/** The octets of a key file. The caller wipes them. */
function readKeyFile(file) {
  // Looking before opening as well: to open a device may do something to it.
  if (!fs.statSync(file).isFile()) throw new Outcome('not a regular file');
  const { O_RDONLY, O_NONBLOCK = 0, O_NOCTTY = 0 } = fs.constants;
  const fd = fs.openSync(file, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  const buffer = Buffer.alloc(65537);
  try {
    for (let attempt = 0; attempt < 50; attempt++) {
      if (attempt > 0) pause(AT_REST_MS / 4);
      const before = fs.fstatSync(fd, { bigint: true });
      if (!before.isFile()) throw new Outcome('not a regular file');
      checkMode(before);
      let length = 0;
      const more = () => fs.readSync(fd, buffer, length, buffer.length - length, length);
      for (let n; length < buffer.length && (n = more()) > 0;) length += n;
      if (length > 65536) throw new Outcome('more than 65536 octets');
      const after = fs.fstatSync(fd, { bigint: true });
      const same = ['size', 'mtimeNs', 'ctimeNs'].every((field) => before[field] === after[field]);
      if (same && before.size === BigInt(length) && isAtRest(after)) return Buffer.from(buffer.subarray(0, length));
    }
    throw new Outcome('changes while it is read');
  } finally {
    wipe(buffer);
    fs.closeSync(fd);
  }
}

// --- Prologue (4) ----------------------------------------------------------------------------------------------------

function prologue({ service = '', binding }) {
  // An empty binding is most likely a failed export, and must not pass for "none".
  if (binding !== undefined && octets(binding).length === 0) throw new RangeError('an empty binding');
  return join(LV(service), LV(binding ?? ''));
}

/** The binding of a TLS socket. Node does not tell of the extended master secret, so TLS 1.2 is refused. */
export function tlsBinding(socket) {
  if (socket.getProtocol() !== 'TLSv1.3') throw new RangeError('a binding needs TLS 1.3');
  const ekm = socket.exportKeyingMaterial(32, 'EXPORTER-Channel-Binding', Buffer.alloc(0));
  if (ekm?.length !== 32) throw new RangeError('the export failed');
  return join('tls-exporter:', ekm);
}

// --- The stream ------------------------------------------------------------------------------------------------------

/** Pulls octets out of a stream that pushes. It never takes more than was asked for: the rest stays in the stream. */
class Wire {
  #wake = () => {};
  #ended = false;
  #error = null;
  #until = Infinity;

  constructor(stream) {
    this.stream = stream;
    // Otherwise Node ends our direction as soon as the peer ends its own.
    stream.allowHalfOpen = true;
    this.listeners = {
      readable: () => this.#wake(),
      end: () => { this.#ended = true; this.#wake(); },
      error: (error) => { this.#error ??= error; this.#wake(); },
      close: () => { this.#error ??= new Error('closed under its reader'); this.#wake(); },
    };
    for (const [event, listener] of Object.entries(this.listeners)) stream.on(event, listener);
    if (stream.readableEnded) this.#ended = true;
    if (stream.destroyed) this.#error = stream.errored ?? new Error('closed before');
  }

  /** Sets the time limit of all that follows, in milliseconds from now. */
  limit(ms) { this.#until = performance.now() + ms; }

  get left() { return this.#until - performance.now(); }

  /** Waits for a promise, but no longer than the limit. */
  async within(ms, promise) {
    let timer;
    const expiry = new Promise((_, reject) => {
      const expire = () => reject(new Outcome('deadline'));
      if (ms <= 0) expire();
      else if (ms < Infinity) timer = setTimeout(expire, ms);
    });
    try {
      return await Promise.race([expiry, promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** 1 to `most` octets, or null at the end of the stream. */
  async read(most, ms = this.left) {
    for (;;) {
      // Octets come before an error or an end that is already known: they are judged first.
      const there = this.stream.readableLength;
      const got = there > 0 && ms > 0 ? this.stream.read(Math.min(most, there)) : null;
      if (got !== null) return got;
      if (this.#ended) return null;
      if (this.#error) throw new Outcome('transport error', { cause: this.#error });
      this.stream.read(0); // Asks for more, and makes a stream that is at its end say so.
      const since = performance.now();
      await this.within(ms, new Promise((resolve) => { this.#wake = resolve; }));
      ms -= performance.now() - since;
    }
  }

  /** One write. It is done when the stream has passed the octets on. */
  async write(data, ms = this.left) {
    const written = new Promise((resolve, reject) => {
      if (ms <= 0) return; // On expiry nothing more is sent.
      if (this.#error) reject(this.#error);
      else this.stream.write(data, (error) => (error ? reject(error) : resolve()));
    });
    await this.within(ms, written).catch((cause) => {
      throw cause instanceof Outcome ? cause : new Outcome('transport error', { cause });
    });
  }

  halfClose() {
    if (!this.stream.writableEnded && !this.stream.destroyed) this.stream.end();
  }

  /** 6.1: keeps a reset from destroying what was just sent. Whatever happens meanwhile changes no outcome. */
  async linger() {
    this.limit(Math.min(1000, this.left));
    this.halfClose();
    let budget = 65536;
    for (let got; budget > 0 && (got = await this.read(budget)) !== null;) budget -= got.length;
  }

  /** From now on all that arrives is thrown away. */
  discard() {
    this.stream.off('readable', this.listeners.readable);
    this.stream.on('data', () => {}).resume();
  }

  /** Gives the stream back, with every octet that was not asked for. */
  detach() {
    for (const [event, listener] of Object.entries(this.listeners)) this.stream.off(event, listener);
    return this.stream;
  }

  drop() { this.stream.destroy(); }
}

// --- Flights (5) and their processing (6) ----------------------------------------------------------------------------

const header = (role, mode) => join('CSIGN1', role, [mode]);
const response = (mode, keyId, nc) => join(header('C', mode), [keyId.length], keyId, nc);
const denial = (mode) => join('D', Buffer.alloc(mode === 2 ? 64 : 32));

/** The lowest octet at fault of a flight that may be incomplete. */
function checkHeader(flight, role, mode) {
  const expected = header(role, mode);
  for (let i = 0; i < Math.min(8, flight.length); i++) {
    if (flight[i] === expected[i]) continue;
    const outcome = i < 5 ? 'foreign protocol' : ['other version', 'wrong role', 'wrong mode'][i - 5];
    throw new Outcome(outcome, { theirs: flight[i], own: expected[i] });
  }
}

async function readFlight(wire, need, check) {
  let flight = Buffer.alloc(0);
  while (flight.length < need(flight)) {
    const part = await wire.read(need(flight) - flight.length);
    if (part === null) throw new Outcome('closed');
    flight = join(flight, part);
    check(flight);
  }
  return flight;
}

function begin(stream, options) {
  if (![0, 1, 2].includes(options.mode)) throw new RangeError('the mode is 0, 1 or 2');
  const { deadline = 10_000 } = options;
  if (!(deadline > 0 && deadline < 2 ** 31)) throw new RangeError('every handshake has a deadline, in ms');
  const P = prologue(options);
  const wire = new Wire(stream);
  wire.limit(deadline);
  return { P, wire };
}

/**
 * The server's handshake over a duplex stream. `lookup(keyId)` yields a Key, an array of none, one or two, or a promise
 * of those. Options: mode, lookup, service, binding, deadline in ms. It rejects with an Outcome, the stream dropped.
 */
export async function serverAuthenticate(stream, options) {
  const { mode, lookup } = options;
  const { P, wire } = begin(stream, options);
  const deny = async (outcome, details) => {
    try {
      await wire.write(denial(mode));
      await wire.linger();
    } catch { /* The outcome is decided, delivered or not. */ }
    throw new Outcome(outcome, details);
  };
  let [x, z] = [null, null];
  try {
    const f1 = join(header('S', mode), draw());
    await wire.write(f1);
    const f2 = await readFlight(wire, (have) => 73 + (have[8] ?? 0), (have) => {
      checkHeader(have, 'C', mode);
      if (have[8] > 64) throw new Outcome('malformed');
    });
    const keyId = Buffer.from(f2.subarray(9, 9 + f2[8]));
    const [nc, tc] = [f2.subarray(-64, -32), f2.subarray(-32)];
    const keys = await wire.within(wire.left, found(lookup, keyId));
    const matched = verify(keys, tc, P, f1, f2.subarray(0, -32));
    if (matched < 0) await deny(keys.length > 0 ? 'proof rejected' : 'unknown key id', { keyId });

    let f3 = Buffer.from('A');
    if (mode === 2) {
      const es = draw();
      try {
        f3 = join(f3, share(es));
        z = exchange(es, nc);
      } finally {
        wipe(es);
      }
      if (z === null) await deny('all-zero shared secret', { keyId });
    }
    const ts = keys[matched].serverProof(P, f1, f2, f3);
    x = keys[matched].sessionSecret(P, f1, f2, f3);
    await wire.write(join(f3, ts));
    return new Session('server', mode, keyId, x, z, wire, matched);
  } catch (error) {
    wipe(x, z);
    wire.drop();
    throw error;
  }
}

/** One or two keys, or none: for an id that is not known, if the look-up fails, and for keys that belong to another. */
async function found(lookup, keyId) {
  try {
    const keys = [await lookup(Buffer.from(keyId))].flat().filter((key) => key instanceof Key && key.mayServe(keyId));
    return keys.length <= 2 ? keys : [];
  } catch {
    return [];
  }
}

const DUMMY = { clientProof: (...message) => H(Buffer.alloc(32), ...message) };

/** The index of the key that matches, or -1, which always costs two verifications. */
function verify(keys, tc, ...message) {
  for (let i = 0; i < 2; i++) {
    const equal = timingSafeEqual((keys[i] ?? DUMMY).clientProof(...message), tc);
    if (equal && keys[i] !== undefined) return i;
  }
  return -1;
}

/** The client's handshake. Options: mode, key, keyId, service, binding, deadline in ms. */
export async function clientAuthenticate(stream, options) {
  const { mode, key } = options;
  const keyId = checkKeyId(options.keyId ?? '', 0);
  if (!key.mayServe(keyId)) throw new RangeError('the key belongs to another key id');
  const { P, wire } = begin(stream, options);
  let ec = null;
  try {
    const f1 = await readFlight(wire, () => 40, (have) => checkHeader(have, 'S', mode)).catch(async (fault) => {
      if (['other version', 'wrong mode'].includes(fault.outcome)) {
        try {
          await wire.write(header('C', mode));
          await wire.linger();
        } catch { /* The outcome is decided. */ }
      }
      throw fault;
    });
    let nc = draw();
    if (mode === 2) {
      ec = nc;
      nc = share(ec);
    }
    const untagged = response(mode, keyId, nc);
    const f2 = join(untagged, key.clientProof(P, f1, untagged));
    await wire.write(f2);
    const f3 = await readFlight(wire, () => (mode === 2 ? 65 : 33), ([verdict]) => {
      if (verdict !== 0x41 && verdict !== 0x44) throw new Outcome('malformed');
    });
    if (f3[0] === 0x44) throw new Outcome('denied');
    const proved = f3.subarray(0, -32);
    const ts = key.serverProof(P, f1, f2, proved);
    if (!timingSafeEqual(ts, f3.subarray(-32))) throw new Outcome('server not authentic');
    const x = key.sessionSecret(P, f1, f2, proved);
    const z = mode === 2 ? exchange(ec, f3.subarray(1, 33)) : null;
    if (mode === 2 && z === null) {
      wipe(x);
      throw new Outcome('all-zero shared secret');
    }
    return new Session('client', mode, keyId, x, z, wire);
  } catch (error) {
    wire.drop();
    throw error;
  } finally {
    wipe(ec);
  }
}

// --- Session (7) -----------------------------------------------------------------------------------------------------

/** The key of the exporter, and the keys or first states of both directions. In mode 2, X and Z are erased here. */
function schedule(mode, x, z) {
  if (mode === 0) return { exporter: x };
  const use = (prk, words) => expand(prk, `countersign/1 ${words}`, 32);
  if (mode === 1) return { exporter: x, client: use(x, 'record client'), server: use(x, 'record server') };
  const xe = H(x, z);
  const [exporter, client, server] = ['export', 'client', 'server'].map((words) => use(xe, `encrypt ${words}`));
  wipe(x, z, xe);
  return { exporter, client, server };
}

function exportKey(exporter, label, context, length) {
  const [l, c] = [octets(label), octets(context)];
  if (l.length < 1 || l.length > 255) throw new RangeError('a label has 1 to 255 octets');
  if (c.length > 65535) throw new RangeError('a context has 0 to 65535 octets');
  if (!Number.isInteger(length) || length < 1 || length > 8160) throw new RangeError('an output has 1 to 8160 octets');
  return expand(exporter, join('countersign/1 export', LV(l), u16(c.length), c, u16(length)), length);
}

class Session {
  #exporter;
  #wire;

  constructor(role, mode, keyId, x, z, wire, matched) {
    const { exporter, client, server } = schedule(mode, x, z);
    Object.assign(this, { role, mode, keyId });
    if (role === 'server') this.matched = ['first', 'second'][matched];
    this.#exporter = exporter;
    this.#wire = wire;
    wire.limit(Infinity);
    if (mode === 0) return;
    const [out, into] = role === 'client' ? [client, server] : [server, client];
    // One of each, for good: two that start from the same keys would use a nonce twice.
    this.sealer = new Sealer(mode, out);
    this.opener = new Opener(mode, into, this.sealer);
  }

  export(label, context, length) {
    if (this.#exporter === null) throw new Error('the session is over');
    return exportKey(this.#exporter, label, context ?? '', length);
  }

  /** Mode 0: the stream, for the application. Attach its listeners at once: an error without one ends the process. */
  release() { return this.#wire.detach(); }

  /** Modes 1 and 2: the protected stream. */
  records() { return new Records(this, this.#wire); }

  wipe() {
    wipe(this.#exporter);
    this.#exporter = null;
    this.sealer?.wipe();
    this.opener?.wipe();
  }
}

// --- Records (8) -----------------------------------------------------------------------------------------------------

const LAST = 2n ** 64n - 1n;
const MOST = 16384;

/** Keys and numbers of one direction. */
class Direction {
  #mode; #seq; #key; #next; #step;

  /** In mode 2 the secret is the state of the step of the first number, which is not 0 in tests only. */
  constructor(mode, secret, seq = 0n) {
    this.#mode = mode;
    this.#seq = seq;
    if (mode === 1) this.#key = secret;
    else this.#next = secret;
    this.#step = (seq >> 16n) - 1n;
  }

  #ready() {
    if (this.#key === null) throw new Error('the session is over');
    if (this.#seq >= LAST) throw new Outcome('numbers used up');
    // A state is gone as soon as its key and the next state exist, so only a key outlives the records of its step.
    while (this.#mode === 2 && this.#step < this.#seq >> 16n) {
      const state = this.#next;
      wipe(this.#key);
      this.#key = expand(state, 'countersign/1 encrypt key', 32);
      this.#next = expand(state, 'countersign/1 encrypt next', 32);
      wipe(state);
      this.#step += 1n;
    }
  }

  #gcm(make, ad) {
    return make('aes-256-gcm', this.#key, join(Buffer.alloc(4), u64(this.#seq)), { authTagLength: 16 }).setAAD(ad);
  }

  seal(payload) {
    this.#ready();
    const n = u16(payload.length);
    let body;
    if (this.#mode === 1) {
      body = [payload, H(this.#key, u64(this.#seq), n, payload).subarray(0, 16)];
    } else {
      const cipher = this.#gcm(createCipheriv, n);
      body = [cipher.update(payload), cipher.final(), cipher.getAuthTag()];
    }
    this.#seq += 1n;
    return join(n, ...body);
  }

  open(record) {
    this.#ready();
    const [n, body, tag] = [record.subarray(0, 2), record.subarray(2, -16), record.subarray(-16)];
    let payload = body;
    if (this.#mode === 1) {
      const expected = H(this.#key, u64(this.#seq), n, body).subarray(0, 16);
      if (!timingSafeEqual(expected, tag)) throw new Outcome('bad tag');
    } else {
      const decipher = this.#gcm(createDecipheriv, n).setAuthTag(tag);
      payload = decipher.update(body);
      try {
        decipher.final();
      } catch {
        wipe(payload);
        throw new Outcome('bad tag');
      }
    }
    this.#seq += 1n;
    return payload;
  }

  wipe() {
    wipe(this.#key, this.#next);
    this.#key = this.#next = null;
  }
}

export class Sealer {
  #direction; #closed = false; #failure = null;

  constructor(mode, secret, seq) { this.#direction = new Direction(mode, secret, seq); }

  /** The data as records, each with its length and tag; none for no octets. */
  seal(data) {
    this.#check();
    const [b, records] = [octets(data), []];
    for (let i = 0; i < b.length; i += MOST) records.push(this.#direction.seal(b.subarray(i, i + MOST)));
    return Buffer.concat(records);
  }

  close() {
    this.#check();
    const record = this.#direction.seal(Buffer.alloc(0));
    this.#closed = true;
    return record;
  }

  #check() {
    if (this.#failure) throw this.#failure;
    if (this.#closed) throw new Error('this direction is closed');
  }

  /** A bad record ends both directions. */
  fail(failure) { this.#failure ??= failure; this.wipe(); }
  wipe() { this.#direction.wipe(); }
}

export class Opener {
  #direction; #partner; #buffer = Buffer.alloc(0); #closed = false; #failure = null;

  constructor(mode, secret, partner = null, seq = undefined) {
    this.#direction = new Direction(mode, secret, seq);
    this.#partner = partner;
  }

  push(chunk) {
    if (!this.#closed && !this.#failure) this.#buffer = this.#buffer.length ? join(this.#buffer, chunk) : octets(chunk);
  }

  /** The next payload; null at the verified close, however often; undefined if octets are wanting. */
  next() {
    if (this.#closed) return null;
    if (this.#failure) throw this.#failure;
    const have = this.#buffer;
    if (have.length < 2) return undefined;
    const n = have.readUInt16BE(0);
    try {
      if (n > MOST) throw new Outcome('bad length');
      if (have.length < n + 18) return undefined;
      const payload = this.#direction.open(have.subarray(0, n + 18));
      this.#buffer = have.subarray(n + 18);
      if (n > 0) return payload;
    } catch (failure) {
      throw this.#fail(failure);
    }
    this.#closed = true;
    this.wipe();
    return null;
  }

  /** The transport has ended, or was lost. Call it when `next` has nothing more to give. */
  end(cause) {
    if (!this.#closed) throw this.#failure ?? this.#fail(new Outcome('truncated', { cause }));
  }

  #fail(failure) {
    this.#failure = failure;
    // After a truncation the other direction may still be whole; after a bad record nothing is sent.
    if (failure.outcome !== 'truncated') this.#partner?.fail(failure);
    this.wipe();
    return failure;
  }

  wipe() { this.#buffer = Buffer.alloc(0); this.#direction.wipe(); }
}

/** A session's stream of octets, in records. `idle` limits how long one read or write waits (8.4), in ms. */
class Records {
  #session; #wire; #sent; #received = false;

  constructor(session, wire) {
    this.#session = session;
    this.#wire = wire;
    this.idle = 30_000;
  }

  /** Verified octets, or null at the peer's close. */
  async read() {
    const { opener } = this.#session;
    try {
      let payload;
      while ((payload = opener.next()) === undefined) {
        const chunk = await this.#wire.read(65536, this.idle).catch((failure) => {
          if (failure.outcome !== 'transport error') throw failure;
          opener.end(failure.cause);
        });
        if (chunk === null) opener.end();
        opener.push(chunk);
      }
      if (payload === null) this.#finish('received');
      return payload;
    } catch (failure) {
      this.#wire.drop();
      this.#session.wipe();
      throw failure;
    }
  }

  /** Sealed and written in one go, so that records leave in the order of their numbers whoever else writes. */
  async write(data) {
    const b = octets(data);
    for (let i = 0; i < b.length; i += MOST) {
      await this.#wire.write(this.#session.sealer.seal(b.subarray(i, i + MOST)), this.idle);
    }
  }

  async close() {
    await this.#wire.write(this.#session.sealer.close(), this.idle);
    this.#wire.halfClose();
    this.#finish('sent');
  }

  /** 8.4: the transport is released once both closes are through, and not before our own has left. */
  #finish(which) {
    if (which === 'sent') this.#sent = true;
    if (which === 'received' && !this.#received) {
      this.#received = true;
      // Octets behind the close would make a reset of our release, and destroy our last ones on their way.
      this.#wire.discard();
    }
    if (!this.#sent || !this.#received) return;
    this.#session.wipe();
    const { stream } = this.#wire;
    if (stream.writableFinished) this.#wire.drop();
    else stream.once('finish', () => this.#wire.drop());
  }
}

// --- Vectors ---------------------------------------------------------------------------------------------------------

const hex = (b) => octets(b).toString('hex');
const INPUTS = new RegExp(`^(${[
  'name', '(accepted-|client-)?secret', 'key-id', '(client-)?(service|binding)', 'mode',
  '(client|server)-(nonce|private)',
  'content', 'passphrase', 'child-id', 'export-(label|context|length)', '(record|later)-(client|server)-(payload|pattern)-\\d+',
].join('|')})$`);
const PLAIN_FIELDS = /^(name|expect|matched|fingerprint|child-secret|export-length|later-.*-pattern-.*)$/;

function unhex(text) {
  if (!/^([0-9a-f]{2})*$/.test(text)) throw new Error('not lower-case hexadecimal');
  return Buffer.from(text, 'hex'); // Which would stop silently at the first other character.
}

/** A file of vectors, as lists of [field, value]. */
function parseVectors(text) {
  const vectors = [[]];
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    if (line.startsWith('#')) continue;
    const [, field, value] = line.match(/^([a-z0-9-]+): ?(.*)$/) ?? [];
    if (line.trim() === '') vectors.push([]);
    else if (field === undefined) throw new Error(`line ${i + 1} is not "field: value"`);
    else vectors.at(-1).push([field, value]);
  }
  return vectors.filter((vector) => vector.length > 0);
}

/** A payload that is too long for a file of vectors. */
const pattern = (length) => Buffer.from(Array.from({ length }, (_, i) => i & 255));

/** The whole vector, made again from its inputs. */
function recompute(vector) {
  const fields = Object.fromEntries(vector);
  if ('content' in fields) return recomputeKeyFile(unhex(fields.content));
  if ('passphrase' in fields) return recomputePassphrase(unhex(fields.passphrase), unhex(fields['key-id']));
  return recomputeHandshake(vector);
}

function recomputeKeyFile(content) {
  try {
    const secrets = parseKeyFile(content);
    for (const secret of secrets) new Key(secret);
    const count = ['one secret', 'two secrets'][secrets.length - 1];
    return [['expect', count], ...secrets.map((secret, i) => [['secret', 'accept'][i], hex(secret)])];
  } catch (error) {
    if (!(error instanceof Outcome)) throw error;
    const { found, offset } = error.details;
    if (found === undefined) return [['expect', error.outcome]];
    return [['expect', 'malformed'], ['found', found], ['offset', String(offset)]];
  }
}

function recomputePassphrase(passphrase, keyId) {
  const expect = passphrase.length < 8 ? 'passphrase too short'
    : passphrase.includes(0) ? 'passphrase with NUL'
      : keyId.length === 0 ? 'key id empty'
        : keyId.length > 64 ? 'key id too long' : 'accepted';
  const refused = expect !== 'accepted';
  try {
    const { salt, secret } = passphraseSecret(passphrase, keyId);
    const outputs = [['salt', hex(salt)], ['passphrase-secret', secret], ['fingerprint', new Key(secret).fingerprint()]];
    return refused ? [] : [['expect', expect], ...outputs];
  } catch (error) {
    if (!refused) throw error;
    return [['expect', expect]];
  }
}

function recomputeHandshake(vector) {
  const all = (field) => vector.filter(([name]) => name === field).map(([, value]) => value);
  const has = (field) => all(field).length > 0;
  const input = (field, otherwise) => {
    if (!has(field) && otherwise === undefined) throw new Error(`${field} is missing`);
    return unhex(all(field)[0] ?? hex(otherwise));
  };
  const out = [];
  const put = (field, value) => out.push([field, PLAIN_FIELDS.test(field) ? String(value) : hex(value)]);

  const [secret, service, binding] = ['secret', 'service', 'binding'].map((field) => input(field));
  const server = { secret, service, binding };
  const [clientSecret, ...clientPrologue] = Object.keys(server).map((field) => input(`client-${field}`, server[field]));
  const [keyId, [mode], ns] = ['key-id', 'mode', 'server-nonce'].map((field) => input(field));
  const nc = mode === 2 ? share(input('client-private')) : input('client-nonce');
  const client = deriveKeys(clientSecret);
  const serverSecrets = [secret, ...(has('accepted-secret') ? [input('accepted-secret')] : [])];
  const unknown = all('expect')[0] === 'denied unknown key id';
  const P = join(...clientPrologue.map(LV));
  const serverP = join(LV(service), LV(binding));
  const f1 = join(header('S', mode), ns);
  const untagged = response(mode, keyId, nc);
  const tc = H(client.kc, P, f1, untagged);
  const f2 = join(untagged, tc);
  const matched = unknown ? -1 : serverSecrets.findIndex((s) => H(deriveKeys(s).kc, serverP, f1, untagged).equals(tc));
  const accepted = matched >= 0;

  put('name', all('name')[0] ?? '');
  put('expect', accepted ? 'accepted' : unknown ? 'denied unknown key id' : 'denied wrong proof');
  if (accepted && serverSecrets.length > 1) put('matched', ['first', 'second'][matched]);
  for (const field of ['secret', 'accepted-secret', 'client-secret', 'key-id', 'service', 'client-service', 'binding',
    'client-binding', 'mode', 'server-nonce', 'client-nonce', 'client-private', 'server-private']) {
    const drawn = accepted || field !== 'server-private';
    if (has(field) && drawn) put(field, input(field));
  }
  for (const field of ['prk', 'kc', 'ks', 'kx']) put(field, client[field]);
  put('fingerprint', fingerprint(client.prk));
  put('prologue', P);
  if (mode === 2) put('client-share', nc);
  put('f1', f1);
  put('f2-untagged', untagged);
  put('tc', tc);
  put('f2', f2);
  if (accepted) accept();
  else put('f3', denial(mode));
  for (const id of all('child-id').map(unhex)) {
    put('child-id', id);
    put('child-secret', childSecret(client.prk, id));
  }
  return out;

  function accept() {
    const es = mode === 2 ? input('server-private') : null;
    const keys = deriveKeys(serverSecrets[matched]);
    const f3 = mode === 2 ? join('A', share(es)) : Buffer.from('A');
    const ts = H(keys.ks, serverP, f1, f2, f3);
    const x = H(keys.kx, serverP, f1, f2, f3);
    if (mode === 2) put('server-share', share(es));
    put('f3', join(f3, ts));
    put('ts', ts);
    put('x', x);
    let z;
    if (mode === 2) {
      z = exchange(es, nc);
      if (!exchange(input('client-private'), share(es))?.equals(z)) throw new Error('the ends do not agree on z');
      put('z', z);
      put('xe', H(x, z));
    }
    const session = schedule(mode, x, z);
    if (mode === 2) put('ke', session.exporter);
    for (const [i, label] of all('export-label').entries()) {
      const [context, length] = [unhex(all('export-context')[i] ?? ''), Number(all('export-length')[i])];
      put('export-label', unhex(label));
      put('export-context', context);
      put('export-length', length);
      put('export-output', exportKey(session.exporter, unhex(label), context, length));
    }
    if (mode === 1) {
      put('krc', session.client);
      put('krs', session.server);
    }
    if (mode !== 0) for (const end of ['client', 'server']) direction(end, session[end]);
  }

  function direction(end, first) {
    const states = [first];
    const step = (i) => {
      for (let k = states.length; k <= i; k++) states.push(expand(states[k - 1], 'countersign/1 encrypt next', 32));
      return Buffer.from(states[i]); // A Sealer wipes its own.
    };
    const asked = vector.map(([field]) => field.match(`^(?:state|key)-${end}-(\\d+)$`)).filter(Boolean);
    for (const i of mode === 2 ? new Set([0, ...asked.map((match) => Number(match[1]))]) : []) {
      put(`state-${end}-${i}`, step(i));
      put(`key-${end}-${i}`, expand(step(i), 'countersign/1 encrypt key', 32));
    }
    const sealer = new Sealer(mode, step(0));
    for (let i = 0; has(`record-${end}-payload-${i}`); i++) {
      const payload = input(`record-${end}-payload-${i}`);
      put(`record-${end}-payload-${i}`, payload);
      put(`record-${end}-${i}`, sealer.seal(payload));
    }
    put(`record-${end}-close`, sealer.close());
    for (const [field, value] of vector) {
      const [, kind, number] = field.match(`^later-${end}-(payload|pattern)-(\\d+)$`) ?? [];
      if (kind === undefined) continue;
      const later = new Sealer(mode, step(mode === 2 ? number >> 16 : 0), BigInt(number));
      const record = later.seal(kind === 'payload' ? unhex(value) : pattern(Number(value)));
      put(field, kind === 'payload' ? unhex(value) : value);
      if (kind === 'payload') put(`later-${end}-${number}`, record);
      else put(`later-${end}-sha256-${number}`, createHash('sha256').update(record).digest());
    }
  }
}

/** The name of the first output that differs, or null. An output that nothing here computes differs too. */
function faultOf(vector) {
  try {
    const computed = recompute(vector);
    const outputs = vector.filter(([field]) => !INPUTS.test(field));
    for (const [i, [field, value]] of outputs.entries()) {
      const nth = outputs.slice(0, i).filter(([name]) => name === field).length;
      if (computed.filter(([name]) => name === field)[nth]?.[1] !== value) return field;
    }
    return outputs.length > 0 ? null : 'no output';
  } catch (error) {
    return error.message;
  }
}

function randomVector(i) {
  const mode = i % 3;
  const some = (least, most) => hex(randomBytes(randomInt(least, most + 1)));
  const chance = (n) => randomInt(n) === 0;
  const fields = [['name', `random vector ${i}, mode ${mode}`], ['secret', some(16, 80)]];
  if (chance(3)) {
    fields.push(['accepted-secret', some(16, 80)]);
    if (chance(2)) fields.push(['client-secret', fields.at(-1)[1]]);
  } else if (chance(8)) {
    fields.push(['client-secret', some(16, 80)]);
  }
  fields.push(['key-id', some(0, 64)], ['service', some(0, chance(4) ? 255 : 20)]);
  // Long enough to differ from the server's.
  if (chance(12)) fields.push(['client-service', some(16, 40)]);
  fields.push(['binding', chance(2) ? '' : hex(join('tls-exporter:', randomBytes(32)))], ['mode', `0${mode}`]);
  // An id that is unknown is shown only where the proof would be right.
  const differs = fields.some(([field]) => field.startsWith('client-'));
  if (!differs && chance(12)) fields.push(['expect', 'denied unknown key id']);
  fields.push(['server-nonce', some(32, 32)]);
  for (const end of mode === 2 ? ['client', 'server'] : []) fields.push([`${end}-private`, some(32, 32)]);
  if (mode !== 2) fields.push(['client-nonce', some(32, 32)]);
  fields.push(['export-label', some(1, 40)], ['export-context', some(0, 40)], ['export-length', randomInt(1, 200)]);
  fields.push(['child-id', some(1, 64)]);
  for (const end of mode === 0 ? [] : ['client', 'server']) {
    for (let k = 0; k < 3; k++) fields.push([`record-${end}-payload-${k}`, some(1, chance(20) ? MOST : 100)]);
  }
  return recompute(fields);
}

// --- Command ---------------------------------------------------------------------------------------------------------

const VERBS = ['authenticate', 'protect', 'encrypt'];

/** A key id has any octets. What is shown has visible ones only, and is still unambiguous. */
function display(id) {
  const escape = (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`;
  return id.length ? octets(id).toString('latin1').replace(/[^!-~]|[\\"]/g, escape) : '""';
}

const verb = (mode) => VERBS[mode] ?? `mode ${mode}`;

function reason(error) {
  if (!(error instanceof Outcome)) return error.message;
  const { theirs, own } = error.details;
  return error.outcome === 'wrong mode'
    ? `wrong mode: the peer wants ${verb(theirs)}, this end ${verb(own)}` : error.outcome;
}

function address(text) {
  const [, host, port] = text?.match(/^(.*):(\d{1,5})$/) ?? [];
  if (port === undefined || port > 65535) throw new RangeError(`not HOST:PORT: ${text}`);
  return { host: host.replace(/^\[(.*)\]$/, '$1'), port: Number(port), allowHalfOpen: true, noDelay: true };
}

/** Both kinds of stream look alike to the rest of the command. */
function channel(session) {
  if (session.mode !== 0) return session.records();
  const wire = new Wire(session.release());
  return {
    read: () => wire.read(65536, 30_000),
    write: (data) => wire.write(data, 30_000),
    close: async () => wire.halfClose(),
  };
}

async function serve(options, common) {
  const key = Key.fromFile(options['key-file']);
  const lookup = (id) => (id.equals(common.keyId) ? key : []);
  const connections = Number(options.connections ?? 1);
  if (!Number.isInteger(connections) || connections < 1) throw new RangeError('--connections wants a number');
  const one = async (socket) => {
    let accepted = false;
    try {
      const session = await serverAuthenticate(socket, { ...common, lookup });
      accepted = true;
      const place = session.matched === 'second' ? ' by its second secret' : '';
      console.error(`accepted ${display(session.keyId)}${place}`);
      const echo = channel(session);
      for (let data; (data = await echo.read()) !== null;) await echo.write(data);
      await echo.close();
    } catch (error) {
      console.error(`${accepted ? 'ended' : 'refused'}: ${reason(error)}`);
      process.exitCode = 1;
      socket.destroy();
    }
  };
  const { host, port, ...socketOptions } = address(options.listen ?? '127.0.0.1:0');
  let count = 0;
  const server = net.createServer(socketOptions, (socket) => {
    if (++count > connections) return void socket.destroy();
    if (count === connections) server.close();
    one(socket);
  });
  await new Promise((resolve, reject) => server.on('error', reject).listen(port, host, resolve));
  const at = server.address();
  console.log(`listening on ${at.family === 'IPv6' ? `[${at.address}]` : at.address}:${at.port}`);
}

async function connect(options, common, message) {
  const [key] = Key.fromFile(options['key-file']);
  const socket = net.connect(address(options.connect));
  const session = await clientAuthenticate(socket, { ...common, key });
  const echo = channel(session);
  const answer = [];
  const reading = (async () => {
    for (let data; (data = await echo.read()) !== null;) answer.push(data);
  })();
  // If both fail, what the reader met tells more: a write fails only because the transport is gone.
  const writing = echo.write(message).then(() => echo.close());
  const [read, written] = await Promise.allSettled([reading, writing]);
  for (const { status, reason: error } of [read, written]) {
    if (status === 'fulfilled') continue;
    socket.destroy();
    throw error;
  }
  process.stdout.write(join(...answer, '\n'));
  if (!join(...answer).equals(octets(message))) throw new Error('the answer is not the message');
}

async function check(file) {
  const { faultOfCase } = await import('./kit.mjs');
  const vectors = parseVectors(fs.readFileSync(file, 'utf8'));
  const failed = [];
  for (const vector of vectors) {
    const fields = Object.fromEntries(vector);
    const isCase = 'receives' in fields || 'input' in fields;
    failed.push([fields.name, isCase ? await faultOfCase(fields) : faultOf(vector)]);
  }
  const failures = failed.filter(([, fault]) => fault !== null);
  for (const [name, fault] of failures) console.log(`failed: ${name}: ${fault}`);
  console.log(`${vectors.length - failures.length} passed, ${failures.length} failed`);
  if (failures.length > 0) process.exitCode = 1;
}

async function main() {
  const text = { type: 'string' };
  const { values: options, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      'key-file': text, 'key-id': text, service: text, verb: text, listen: text, connect: text, connections: text,
    },
  });
  const [command, ...rest] = positionals;
  const mode = VERBS.indexOf(options.verb ?? VERBS[0]);
  if (mode < 0) throw new RangeError(`--verb is one of ${VERBS.join(', ')}`);
  const keyId = checkKeyId(options['key-id'] ?? '', 0);
  const common = { mode, keyId, service: options.service ?? '' };
  prologue(common); // A service that is too long is reported before anything is opened.
  const need = (...names) => {
    for (const name of names) if (options[name] === undefined) throw new RangeError(`--${name} is missing`);
  };
  if (rest.length > 1) throw new RangeError('too many arguments');
  switch (command) {
    case 'serve': return need('key-file') ?? serve(options, common);
    case 'connect': return need('key-file', 'connect')
      ?? connect(options, common, rest[0] === '-' ? fs.readFileSync(0) : rest[0] ?? 'Hello World');
    case 'check': return check(rest[0]);
    case 'vectors':
      for (let i = 0; i < Number(rest[0] ?? 30); i++) {
        console.log(randomVector(i).map(([field, value]) => `${field}: ${value}`.trimEnd()).join('\n') + '\n');
      }
      return undefined;
    case 'fingerprint': return Key.fromFile(rest[0])
      .forEach((key, i) => console.log(`${i === 0 ? '' : 'accept:'}${key.fingerprint()}`));
    default: throw new RangeError('the command is serve, connect, check, vectors or fingerprint');
  }
}

if (process.argv[1] && fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  main().catch((error) => {
    console.error(reason(error));
    process.exitCode = error instanceof RangeError || error.code?.startsWith('ERR_PARSE_ARGS') ? 2 : 1;
  });
}
