#!/usr/bin/env node
/**
 * The command `timestore`.
 *
 * @module
 */
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 22 || (major === 22 && minor < 12)) {
  process.stderr.write(`timestore needs Node.js 22.12 or newer; this is ${process.versions.node}.\n`);
  process.exit(2);
}
const { main } = await import('./process.ts');
await main();

export {};
