import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { marked } from 'marked';

const root = join(import.meta.dirname, '..', '..');

/** A block of commands, and the answer that the document shows for it. */
export type Block = {
  commands: string;
  /** `no-run`: needs what a test does not have. `refused`: shows an error. */
  flags: string[];
  expected: { language: string; text: string } | undefined;
};

/** The `sh` blocks of a document in order. A `json` or `text` block after one, whatever prose is between, is its answer. */
export function blocksOf(markdown: string): Block[] {
  const blocks: Block[] = [];
  for (const token of marked.lexer(markdown)) {
    if (token.type !== 'code') continue;
    const [language = '', ...flags] = (token.lang ?? '').split(' ');
    const last = blocks.at(-1);
    if (language === 'sh') blocks.push({ commands: token.text, flags, expected: undefined });
    else if (/^(?:json|text)$/.test(language) && last && !last.expected) last.expected = { language, text: token.text };
  }
  return blocks;
}

export type Ran = { block: Block; stdout: string; stderr: string };

/**
 * Runs the blocks of a document in one shell, in a new folder, against a deployment instead of the one that the document
 * names. Throws where a command fails, with what it said.
 */
export async function runBlocks(blocks: Block[], url: string): Promise<Ran[]> {
  const folder = mkdtempSync(join(tmpdir(), 'timestore-guide-'));
  const runnable = blocks.filter(({ flags }) => !flags.includes('no-run'));
  const parts = runnable.map(({ commands, flags }, n) => {
    const isRefused = flags.includes('refused');
    return `exec >out-${n} 2>err-${n}\n${isRefused ? 'set +e; fail=' : 'set -e; fail=--fail-with-body'}\n${commands}\n`;
  });
  const script = join(folder, 'script');
  writeFileSync(script, `${preamble}${parts.join('')}`.replaceAll('http://127.0.0.1:8787', url));
  const env = { PATH: process.env.PATH, HOME: folder, NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE };
  try {
    const failure = await new Promise<Error | null>((resolve) => {
      execFile('bash', [script], { cwd: folder, env, timeout: 240_000 }, resolve);
    });
    const ran = runnable.map((block, n) => ({ block, stdout: said(folder, 'out', n), stderr: said(folder, 'err', n) }));
    const last = ran.findLast((_, n) => existsSync(join(folder, `out-${n}`)));
    if (failure !== null) {
      throw new Error(`${last?.block.commands}\nfailed (${failure.message})\n${last?.stdout}\n${last?.stderr}`);
    }
    return ran;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** As `npm run timestore` and a curl that ends with a failure where the answer is an error. */
const preamble = `set -o pipefail
timestore() { '${process.execPath}' --import '${root}/local/text-modules.ts' '${root}/src/cli/main.ts' "$@"; }
curl() { command curl $fail "$@"; }
`;

function said(folder: string, stream: 'out' | 'err', n: number): string {
  const file = join(folder, `${stream}-${n}`);
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
}

/** What an answer does not have that its document shows; '' for nothing. `…` stands for any value or text. */
export function difference({ language, text }: { language: string; text: string }, answer: string): string {
  if (language === 'text') {
    const literal = (part: string) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
    const pattern = text.trim().split('…').map(literal).join('[\\s\\S]*?');
    return new RegExp(`^${pattern}$`).test(answer.trim()) ? '' : `the answer is:\n${answer}`;
  }
  try {
    return differenceOf(JSON.parse(text), JSON.parse(answer), '');
  } catch (error) {
    return `${(error as Error).message}:\n${answer}`;
  }
}

/** Objects may have more members than the document shows. */
function differenceOf(expected: unknown, found: unknown, path: string): string {
  if (expected === '…') return found === undefined ? `${path} is missing` : '';
  if (typeof expected === 'string' && typeof found === 'string' && expected.includes('…')) {
    return difference({ language: 'text', text: expected }, found) && `${path} is ${JSON.stringify(found)}`;
  }
  if (typeof expected !== 'object' || expected === null || typeof found !== 'object' || found === null) {
    return Object.is(expected, found) ? '' : `${path} is ${JSON.stringify(found)}`;
  }
  if (Array.isArray(expected) && (!Array.isArray(found) || found.length !== expected.length)) {
    return `${path} is ${JSON.stringify(found)}`;
  }
  return Object.entries(expected)
    .map(([name, value]) => differenceOf(value, (found as Record<string, unknown>)[name], `${path}/${name}`))
    .filter((line) => line !== '')
    .join('\n');
}
