// The cases of the test kit: exchanges, records and inputs.
//
// A case is an object of the fields of the file. Each function returns the outputs that come out here.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { Duplex } from 'node:stream';
import { Key, Opener, Outcome, clientAuthenticate, forTests, serverAuthenticate } from './countersign.mjs';

/** A stream whose peer sends these octets and then ends. */
class Script extends Duplex {
  sent = Buffer.alloc(0);
  /** How many octets were not read when the stream was dropped. */
  unread = null;

  constructor(octets) {
    super();
    this.push(octets);
    this.push(null);
  }

  _read() {}
  _write(chunk, _, done) { this.sent = Buffer.concat([this.sent, chunk]); done(); }
  _destroy(error, done) { this.unread ??= this.readableLength; done(error); }
}

/** Runs a function with these draws in the place of the operating system's. */
async function drawing(draws, run) {
  const { random } = forTests;
  forTests.random = () => draws.shift();
  try {
    return await run();
  } finally {
    forTests.random = random;
  }
}

const octets = (text) => Buffer.from(text, 'hex');

async function exchange(fields) {
  const given = (field) => octets(fields[field]);
  const [mode, keyId, service] = [Number(fields.mode), given('key-id'), given('service')];
  const binding = fields.binding === '' ? undefined : given('binding');
  const keys = ['secret', 'accepted'].filter((field) => field in fields).map((field) => new Key(given(field)));
  const common = { mode, service, binding };
  const stream = new Script(given('receives'));
  const draws = ['draw', 'second-draw'].filter((field) => field in fields).map(given);
  const outputs = {};
  try {
    const session = await drawing(draws, () => (fields.role === 'client'
      ? clientAuthenticate(stream, { ...common, keyId, key: keys[0] })
      : serverAuthenticate(stream, { ...common, lookup: (id) => (id.equals(keyId) ? keys : []) })));
    outputs.expect = 'accepted';
    outputs.matched = session.matched;
    outputs.exported = session.export('kit', '', 32).toString('hex');
    stream.destroy();
  } catch (error) {
    if (!(error instanceof Outcome)) throw error;
    outputs.expect = error.outcome;
  }
  outputs.sends = stream.sent.toString('hex');
  outputs.left = String(stream.unread);
  return outputs;
}

function records(fields) {
  const opener = new Opener(Number(fields.mode), octets(fields.state), null, BigInt(fields.skip));
  opener.push(octets(fields.receives));
  const delivered = [];
  let expect = 'close';
  try {
    for (let payload; (payload = opener.next()) !== null;) {
      if (payload === undefined) opener.end();
      delivered.push(payload);
    }
  } catch (error) {
    if (!(error instanceof Outcome)) throw error;
    expect = error.outcome;
  }
  return { expect, delivers: Buffer.concat(delivered).toString('hex') };
}

/** The session of a server whose client is ours too. */
async function session() {
  const ends = [0, 1].map(() => new Duplex({
    read() {},
    write(chunk, _, done) { this.peer.push(chunk); done(); },
  }));
  [ends[0].peer, ends[1].peer] = [ends[1], ends[0]];
  const key = new Key(Buffer.from('a secret of the kit'));
  const [server] = await Promise.all([
    serverAuthenticate(ends[0], { mode: 0, lookup: () => key }),
    clientAuthenticate(ends[1], { mode: 0, key }),
  ]);
  return server;
}

function loadKeyFile(length) {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'countersign-'));
  try {
    const file = path.join(directory, 'a.key');
    fs.writeFileSync(file, Buffer.alloc(length, '0123456789abcdef'), { mode: 0o600 });
    Key.fromFile(file);
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
}

async function oneInput({ input, value = '', length }) {
  const key = new Key(Buffer.from('a secret of the kit'));
  const begin = (options) => clientAuthenticate(new Script(Buffer.alloc(0)), { mode: 0, key, ...options });
  const given = octets(value);
  const attempts = {
    secret: () => new Key(given),
    'key file': () => loadKeyFile(Number(length)),
    'key id': () => begin({ keyId: given }),
    'child id': () => key.childSecret(given),
    service: () => begin({ service: given }),
    'export label': async () => (await session()).export(given, '', 32),
    'export context': async () => (await session()).export('a', Buffer.alloc(Number(length)), 32),
    'export output': async () => (await session()).export('a', '', Number(length)),
  };
  try {
    await attempts[input]();
  } catch (error) {
    // The server of a handshake that begins is not there.
    if (error.outcome === 'closed') return { expect: 'taken' };
    if (error instanceof RangeError || error instanceof Outcome) return { expect: 'refused' };
    throw error;
  }
  return { expect: 'taken' };
}

/** The name of the first output of a case that differs, or null. */
export async function faultOfCase(fields) {
  const run = 'skip' in fields ? records : 'input' in fields ? oneInput : exchange;
  const outputs = await run(fields);
  return ['expect', 'sends', 'left', 'matched', 'exported', 'delivers']
    .find((field) => field in fields && outputs[field] !== fields[field]) ?? null;
}
