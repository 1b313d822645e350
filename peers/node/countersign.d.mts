/** The countersign protocol, version 1. Sections are those of PROTOCOL.md. */
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';

/** Text is taken as UTF-8. */
export type Octets = string | Uint8Array;

export type Mode = 0 | 1 | 2;
/** The handshake only: what follows is neither protected nor encrypted. */
export declare const AUTHENTICATE: 0;
/** Records that nobody alters unnoticed. */
export declare const PROTECT: 1;
/** Records that nobody reads either, with forward secrecy. */
export declare const ENCRYPT: 2;

/** Why there is no session, or no more of it. */
export declare class Outcome extends Error {
  /** The name in section 6.4, or what is wrong with a key. */
  readonly outcome: string;
  readonly details: {
    /** At a server that denied: the key id that was claimed. */
    keyId?: Buffer;
    /** The octet at fault in a header, and the one that belongs there. */
    theirs?: number;
    own?: number;
    /** What a key file has that it must not have, and where. */
    found?: string;
    offset?: number;
    cause?: unknown;
  };
}

/** The keys that are derived from one secret. */
export declare class Key {
  /** @throws {Outcome} for fewer than 16 octets, or octets that are all equal. */
  constructor(secret: Octets);
  /** The only key id for which this key may be used, or null for any. */
  readonly keyId: Buffer | null;
  /** The keys of a key file: the first, and the second while the secret is rotated. */
  static fromFile(path: string): Key[];
  /** Takes some tenths of a second and 64 MiB. The key id is the salt. */
  static fromPassphrase(passphrase: Octets, keyId: Octets): Key;
  /** The key of the one client that has this id. */
  child(id: Octets): Key;
  /** Its secret, as 64 digits. */
  childSecret(id: Octets): string;
  /** Eight digits that tell secrets apart. Show them on request only. */
  fingerprint(): string;
  wipe(): void;
}

/** What a look-up yields: no key, one, or a first and a second. */
export type Found = Key | readonly Key[] | null | undefined;
export type Lookup = (keyId: Buffer) => Found | Promise<Found>;

/** The look-up of a server that holds a parent, or two: every id has a child, unless it is refused. */
export declare function childLookup(parents: readonly Key[], refused?: readonly Octets[]): (keyId: Buffer) => Key[];

/** The secrets of a key file, as views into it. @throws {Outcome} with what was found, and where. */
export declare function parseKeyFile(content: Uint8Array): Uint8Array[];

interface Options<M extends Mode> {
  mode: M;
  /** The name of the destination, the same at both ends. */
  service?: Octets;
  /** From tlsBinding, the same at both ends. */
  binding?: Octets;
  /** The total of the handshake, in milliseconds: 10,000 if nothing is given. */
  deadline?: number;
}

export interface ClientOptions<M extends Mode = Mode> extends Options<M> {
  key: Key;
  keyId?: Octets;
}

export interface ServerOptions<M extends Mode = Mode> extends Options<M> {
  lookup: Lookup;
}

/** Authenticates both ends. If it rejects, the stream has been destroyed. */
export declare function clientAuthenticate<M extends Mode>(
  stream: Duplex, options: ClientOptions<M>): Promise<Session<M>>;
export declare function serverAuthenticate<M extends Mode>(
  stream: Duplex, options: ServerOptions<M>): Promise<Session<M>>;

/** The channel binding of a TLS 1.3 connection. */
export declare function tlsBinding(socket: TLSSocket): Buffer;

export interface Session<M extends Mode = Mode> {
  readonly role: 'client' | 'server';
  readonly mode: M;
  /** Who the client is, if each has its own secret. */
  readonly keyId: Buffer;
  /** At a server: which of two secrets the client used. */
  readonly matched?: 'first' | 'second';
  /** Key material that only the two ends hold, of 1 to 8160 octets. */
  export(label: Octets, context: Octets | undefined, length: number): Buffer;
  /** Mode 0: the stream, for the application. Attach an `error` listener at once. */
  release(): Duplex;
  /** Modes 1 and 2: the stream of records. Call it once. */
  records(): M extends 0 ? never : Records;
  wipe(): void;
}

export interface Records {
  /** How long one read or write may wait, in milliseconds: 30,000 if nothing is set. */
  idle: number;
  /** The next octets, or null at the peer's close. */
  read(): Promise<Buffer | null>;
  write(data: Octets): Promise<void>;
  /** Ends this direction. Read on until null, or the peer's last octets may be lost. */
  close(): Promise<void>;
}
