import { createWriteStream } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { CliFailure, exitCodes, isSystemError, systemMessage, usage } from './failure.ts';
import { size } from './ingest/show-progress.ts';
import { type Io, print } from './io.ts';

export const outputFormats = ['table', 'json', 'ndjson', 'csv', 'parquet', 'arrow'] as const;
export type OutputFormat = (typeof outputFormats)[number];

export type OutputOptions = { format?: OutputFormat; out?: string; json?: boolean };

/** The requested format, else that of the file extension, else a table. */
export function formatFor({ format, out, json }: OutputOptions, io: Io): OutputFormat {
  const requested = format ?? (json ? 'json' : undefined) ?? formatOfName(out);
  if (requested === 'table' && out !== undefined)
    throw usage('The format table is for a terminal. For a file use another one, such as --format csv.');
  if ((requested === 'parquet' || requested === 'arrow') && out === undefined && io.stdout.isTTY) {
    throw usage(`${requested} is binary: use --out FILE.`);
  }
  return requested ?? (out === undefined ? 'table' : 'ndjson');
}

function formatOfName(out: string | undefined): OutputFormat | undefined {
  const [, extension = ''] = /\.([a-z]+)$/i.exec(out ?? '') ?? [];
  const known: Record<string, OutputFormat> = {
    json: 'json',
    ndjson: 'ndjson',
    jsonl: 'ndjson',
    csv: 'csv',
    parquet: 'parquet',
    arrow: 'arrow',
    arrows: 'arrow',
  };
  const name = extension.toLowerCase();
  return Object.hasOwn(known, name) ? known[name] : undefined;
}

/**
 * Writes the body of an answer to a file, atomically, or to standard output.
 *
 * @throws CliFailure for a truncated answer or a full disk
 */
export async function deliver(response: Response, out: string | undefined, io: Io): Promise<void> {
  const body = (response.body ?? new Blob().stream()) as AsyncIterable<Uint8Array>;
  if (out === undefined) {
    try {
      for await (const chunk of body) await print(io.stdout, chunk);
    } catch (error) {
      throw isSystemError(error) ? error : truncated(error);
    }
    return;
  }
  const from = performance.now();
  const bytes = await intoFile(body, out);
  const seconds = (performance.now() - from) / 1000;
  io.stderr.write(`${out}: ${size(bytes)} in ${seconds.toFixed(1)} s\n`);
}

/** Returns the number of bytes. Throws CliFailure like `deliver`. */
export async function intoFile(body: AsyncIterable<Uint8Array>, out: string): Promise<number> {
  const found = await stat(out).catch(() => undefined);
  if (found?.isDirectory()) throw usage(`${out} is a folder.`);
  // A pipe or a device cannot be replaced by a file.
  const isFile = found === undefined || found.isFile();
  const part = isFile ? `${out}.${process.pid}.part` : out;
  try {
    const file = createWriteStream(part, { flags: isFile ? 'wx' : 'w' });
    await pipeline(body, file);
    if (isFile) await rename(part, out);
    return file.bytesWritten;
  } catch (error) {
    if (isFile) await rm(part, { force: true });
    if (isSystemError(error)) throw new CliFailure(`${systemMessage(error, out)} The partial file was deleted.`);
    throw truncated(error);
  }
}

function truncated(cause: unknown): unknown {
  if (cause instanceof Error && cause.name === 'AbortError') return cause;
  return new CliFailure('The answer was truncated. Try again.', exitCodes.later, cause);
}

export function printWarnings(warnings: string[], io: Io): void {
  for (const warning of warnings) io.stderr.write(`Warning: ${warning}\n`);
}

export function warningsIn(response: Response): string[] {
  const header = response.headers.get('x-timestore-warnings');
  return header === null ? [] : (JSON.parse(header) as string[]);
}
