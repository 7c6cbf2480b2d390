import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { buildPackage } from '../../../local/package.ts';
import { useWorker } from '../http/worker.ts';
import { at, newDataset } from '../support.ts';

const root = join(import.meta.dirname, '..', '..', '..');
const call = useWorker();
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  dependencies: Record<string, string>;
  bin: { timestore: string };
  version: string;
};

/** A project that depends on the package, as it is packed. */
let project = '';
let client = '';

const run = (file: string, args: string[], cwd: string) =>
  promisify(execFile)(process.execPath, [file, ...args], { cwd });
const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');

beforeAll(async () => {
  project = mkdtempSync(join(tmpdir(), 'timestore-test-'));
  const installed = join(project, 'node_modules', 'timestore');
  client = join(installed, '.package', 'client');
  mkdirSync(installed, { recursive: true });
  await buildPackage(join(installed, '.package'));
  // What installing it brings along, and no more.
  for (const name of Object.keys(manifest.dependencies)) {
    const link = join(installed, 'node_modules', name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(join(root, 'node_modules', name), link);
  }
  cpSync(join(root, 'sql'), join(installed, 'sql'), { recursive: true });
  cpSync(join(root, 'package.json'), join(installed, 'package.json'));
});
afterAll(() => rmSync(project, { recursive: true, force: true }));

const program = `import { Timestore, TimestoreError } from 'timestore/client';
export async function tryIt(url, dataset) {
  const client = new Timestore({ url, key: 'local-admin' });
  const table = client.table(dataset, 'm');
  await using writer = table.writer({ rowsMax: 2 });
  for (let v = 0; v < 5; v += 1) await writer.add({ timestamp: '${at(1)}', v });
  await writer.flush();
  const { rows } = await table.query({ columns: ['v'] });
  const streamed = [];
  for await (const { v } of table.rows()) streamed.push(v);
  const refused = await table.write([{ timestamp: 'never' }]).catch((error) => error instanceof TimestoreError && error.code);
  return { n: rows.length, streamed: streamed.length, refused };
}
`;
const expected = { n: 5, streamed: 5, refused: 'rows-refused' };

test('the packed client runs in Node.js', async () => {
  writeFileSync(join(project, 'program.mjs'), program);
  const main = `import { tryIt } from './program.mjs'; console.log(JSON.stringify(await tryIt('${call.url()}', '${newDataset()}')));`;
  writeFileSync(join(project, 'main.mjs'), main);
  const { stdout } = await run('main.mjs', [], project);
  expect(JSON.parse(stdout)).toEqual(expected);
});

test('and in a Worker', async () => {
  const modules = readdirSync(client)
    .filter((name) => name.endsWith('.js'))
    .map((name) => ({ type: 'ESModule' as const, path: name, contents: readFileSync(join(client, name), 'utf8') }));
  const worker = `${program.replace('timestore/client', './index.js')}
    export default { async fetch(request) {
      const { searchParams } = new URL(request.url);
      return Response.json(await tryIt(searchParams.get('url'), searchParams.get('dataset')));
    } };`;
  const options = convertV4MiniflareOptions({
    name: 'user',
    host: '127.0.0.1',
    cf: false,
    compatibilityDate: '2026-11-01',
    modules: [{ type: 'ESModule', path: 'user.js', contents: worker }, ...modules],
  });
  const miniflare = new Miniflare(options);
  try {
    const query = new URLSearchParams({ url: call.url(), dataset: newDataset() });
    const answer = await miniflare.dispatchFetch(`http://user/?${query}`);
    expect(await answer.json()).toEqual(expected);
  } finally {
    await miniflare.dispose();
  }
});

test('its types are those of a program that uses it', async () => {
  const typed = (line: string) => `import { Timestore } from 'timestore/client';
    const table = new Timestore({ url: 'x', key: 'y' }).table<{ v: number }>('a', 'b');
    ${line}
    export const rows: Promise<{ v: number }[]> = table.query({ limit: 1 }).then((answer) => answer.rows);`;
  const options = {
    strict: true,
    noEmit: true,
    module: 'NodeNext',
    target: 'ES2024',
    lib: ['ES2024', 'DOM'],
    types: [],
  };
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, files: ['use.mts'] }));
  writeFileSync(join(project, 'use.mts'), typed(''));
  await run(tsc, ['-p', project], project);
  writeFileSync(
    join(project, 'use.mts'),
    typed(`void table.query({ filters: { columns: [{ column: 'v', op: 'near' }] } });`),
  );
  await expect(run(tsc, ['-p', project], project)).rejects.toMatchObject({ stdout: expect.stringContaining('near') });
});

test('the packed command sends, asks and migrates', async () => {
  const bin = join('node_modules', 'timestore', manifest.bin.timestore);
  const env = { ...inject('env'), PATH: '', HOME: project, TIMESTORE_URL: call.url(), TIMESTORE_KEY: 'local-admin' };
  const timestore = async (...args: string[]) =>
    (await promisify(execFile)(process.execPath, [bin, ...args], { cwd: project, env })).stdout;
  const dataset = newDataset();
  writeFileSync(join(project, 'rows.csv'), `timestamp,v\n${at(1)},1\n${at(2)},2\n`);
  expect(await timestore('ingest', 'rows.csv', '--table', `${dataset}.m`)).toContain('2 rows accepted');
  const answer = await timestore('sql', 'SELECT sum(v) AS s FROM m', '--dataset', dataset, '--json');
  expect(JSON.parse(answer)).toMatchObject({ rows: [{ s: 3 }] });
  expect(await timestore('migrate')).toBe('Nothing to migrate.\n');
  expect(await timestore('--version')).toBe(`${manifest.version}\n`);
});

test('the client is small: no dependency, and less than 8 kB as it is sent', () => {
  const files = readdirSync(client).filter((name) => name.endsWith('.js'));
  const texts = files.map((name) => readFileSync(join(client, name), 'utf8'));
  expect(gzipSync(texts.join('')).length).toBeLessThan(8 * 1024);
  for (const text of texts) {
    for (const [, from = ''] of text.matchAll(/from '([^']+)'/g)) expect(from).toMatch(/^\.\//);
  }
});
