import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { guides } from '../../../functions/http/guide-list.ts';
import { useWorker } from './worker.ts';

const call = useWorker();

const folder = join(import.meta.dirname, '..', '..', '..', 'functions', 'guides');

const pages = ['/docs', '/docs/', ...Object.keys(guides).map((name) => `/docs/${name}`)];

async function htmlOf(path: string): Promise<string> {
  const answer = await call(path, { key: null });
  expect([path, answer.status, answer.headers.get('content-type')]).toEqual([path, 200, 'text/html; charset=UTF-8']);
  expect(answer.headers.get('content-security-policy')).toContain("default-src 'self'");
  return await answer.text();
}

test('every address in a page of the guides answers, and every anchor is on its page', async () => {
  const html = new Map(await Promise.all(pages.map(async (path) => [path, await htmlOf(path)] as const)));
  const links = [...html].flatMap(([path, text]) =>
    [...text.matchAll(/ (?:href|src)="([^"]*)"/g)].map(([, href = '']) => ({ path, href })),
  );
  expect(links.length).toBeGreaterThan(pages.length * pages.length);
  const isThere = new Map<string, boolean>();
  for (const { path, href } of links) {
    if (href.startsWith('https:')) continue;
    const { pathname, hash } = new URL(href, `http://page${path}`);
    if (!isThere.has(pathname)) isThere.set(pathname, (await call(pathname, { key: null })).status === 200);
    expect([path, href, isThere.get(pathname)]).toEqual([path, href, true]);
    if (hash !== '')
      expect([path, href, html.get(pathname)?.includes(` id="${hash.slice(1)}"`)]).toEqual([path, href, true]);
  }
});

test('a page has no script, runs none, and is the text of its guide', async () => {
  const html = await htmlOf('/docs/query');
  expect(html).not.toMatch(/<script|<style| style=| on[a-z]+="/);
  expect(html).toContain('<title>Query · Timestore</title>');
  expect(html).toContain('<h2 id="answer-formats"><a href="#answer-formats">Answer formats</a></h2>');
  expect(html).toContain('<a href="/docs/query" aria-current="page">');
  // What a table or a block of code shows is text, not elements.
  expect(html).toContain('<td><code>string[]</code></td>');
  expect(await htmlOf('/docs/clusters')).toContain('&lt;clickhouse&gt;');
});

test('the Markdown of each guide is served as it stands in the repository', async () => {
  for (const name of [...Object.keys(guides), 'README']) {
    const answer = await call(`/docs/${name}.md`, { key: null });
    expect(answer.headers.get('content-type')).toBe('text/markdown; charset=utf-8');
    expect(await answer.text()).toBe(readFileSync(join(folder, `${name}.md`), 'utf8'));
  }
  expect((await call('/docs/nothing', { key: null })).status).toBe(404);
});
