// Runs a program of tests for WASI: node wasi.mjs PROGRAM [FILTER...]
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { argv, exit } from 'node:process';
import { WASI } from 'node:wasi';

const repository = resolve(import.meta.dirname, '../..');
const wasi = new WASI({
  version: 'preview1',
  args: argv.slice(2),
  // The tests read their vectors.
  preopens: { [repository]: repository },
});
const module = await WebAssembly.compile(await readFile(argv[2]));
exit(wasi.start(await WebAssembly.instantiate(module, wasi.getImportObject())));
