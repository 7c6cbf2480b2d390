import { text as textOf } from 'node:stream/consumers';
import { interrupted } from './failure.ts';
import type { Io } from './io.ts';

/** Reads a secret from a pipe, or from the terminal without echo. */
export async function askSecret(question: string, { stdin, stderr }: Io): Promise<string> {
  const terminal = stdin as Io['stdin'] & { setRawMode?(raw: boolean): void };
  if (!terminal.isTTY || terminal.setRawMode === undefined) return (await textOf(stdin)).trim();
  stderr.write(question);
  terminal.setRawMode(true);
  let typed = '';
  try {
    for await (const chunk of terminal) {
      for (const character of String(chunk)) {
        if (character === '\r' || character === '\n' || character === '\u0004') return typed.trim();
        // In raw mode Ctrl-C is a character.
        if (character === '\u0003') throw interrupted();
        typed = character === '\u007f' || character === '\b' ? typed.slice(0, -1) : typed + character;
      }
    }
    return typed.trim();
  } finally {
    terminal.setRawMode(false);
    stderr.write('\n');
  }
}
