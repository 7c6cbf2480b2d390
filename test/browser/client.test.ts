import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { onPath } from '../../local/engines/apt.ts';
import { useWorker } from '../integration/http/worker.ts';
import { newDataset } from '../integration/support.ts';

const browser = onPath(['chromium', 'chromium-browser', 'google-chrome']);
const root = join(import.meta.dirname, '..', '..');

/** What the page does; its result is sent to where the page came from. */
const page = (url: string, dataset: string) => `<!doctype html><script type="module">
  import { Timestore } from '/client/index.js';
  const told = async () => {
    const table = new Timestore({ url: '${url}', key: 'local-admin' }).table('${dataset}', 'm');
    // Large enough to go compressed.
    const row = (v) => ({ timestamp: new Date(), v, s: 'é'.repeat(10), big: 2n ** 60n + 1n });
    await table.write(Array.from({ length: 2000 }, (_, v) => row(v)));
    const writer = table.writer({ rowsMax: 100 });
    for (let v = 0; v < 250; v += 1) await writer.add(row(v));
    await writer.close();
    const { rows } = await table.query({ limit: 1, columns: ['big'] });
    let streamed = 0;
    for await (const _ of table.rows()) streamed += 1;
    const refused = await table.write([{ timestamp: 'never' }]).catch(({ code }) => code);
    return { big: String(rows[0].big), streamed, refused };
  };
  const result = await told().catch((error) => ({ error: String(error.stack) }));
  await fetch('/result', { method: 'POST', body: JSON.stringify(result) });
</script>`;

describe.skipIf(browser === undefined)('in a browser', () => {
  const dir = mkdtempSync(join(tmpdir(), 'timestore-test-'));
  let origin = '';
  const result = Promise.withResolvers<unknown>();
  const dataset = newDataset();
  const env: Record<string, string> = {};
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    const path = request.url ?? '/';
    if (path === '/result') {
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => {
        result.resolve(JSON.parse(Buffer.concat(parts).toString()));
        response.end();
      });
      return;
    }
    const name = path.slice('/client/'.length);
    const isModule = path.startsWith('/client/') && readdirSync(dir).includes(name);
    response.setHeader('content-type', isModule ? 'text/javascript' : 'text/html; charset=utf-8');
    response.end(isModule ? readFileSync(join(dir, name)) : page(call.url(), dataset));
  };
  const server = createServer(answer);
  beforeAll(async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    server.listen(0, '127.0.0.1', resolve);
    await promise;
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    // From the page's origin to another one: what the deployment has to allow.
    env.TIMESTORE_CORS_ORIGINS = origin;
    const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
    await promisify(execFile)(process.execPath, [
      tsc,
      '-p',
      join(root, 'src', 'client', 'tsconfig.json'),
      '--outDir',
      dir,
    ]);
  });
  const call = useWorker(env);
  afterAll(() => {
    server.close();
    rmSync(dir, { recursive: true, force: true, maxRetries: 10 });
  });

  test('the client writes, reads, streams and reports errors, from a page of another origin', async () => {
    const child = spawn(
      String(browser),
      [
        '--headless',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-sync',
        '--disable-background-networking',
        '--disable-component-update',
        '--remote-debugging-port=0',
        `--user-data-dir=${join(dir, 'profile')}`,
        `${origin}/`,
      ],
      { stdio: 'ignore' },
    );
    const ended = Promise.withResolvers<void>();
    child.once('exit', () => ended.resolve());
    try {
      expect(await Promise.race([result.promise, ended.promise])).toEqual({
        big: String(2n ** 60n + 1n),
        streamed: 2_250,
        refused: 'rows-refused',
      });
    } finally {
      child.kill();
      await ended.promise;
    }
  });
});
