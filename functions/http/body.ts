import { promisify } from 'node:util';
import { gunzip, inflate, zstdDecompress } from 'node:zlib';
import type { Context } from 'hono';
import type * as z from 'zod';
import { ApiError } from '../../src/core/errors.ts';
import { invalidValues, readJson } from '../../src/core/request-text.ts';
import type { App } from './app.ts';

type Decompress = (bytes: Uint8Array, options: { maxOutputLength: number }) => Promise<Uint8Array>;

const encodings = new Map([
  ['gzip', promisify(gunzip) as Decompress],
  ['deflate', promisify(inflate) as Decompress],
  ['zstd', promisify(zstdDecompress) as Decompress],
]);

/** Bodies up to this size are not counted against the memory budget. */
const small_bytes = 16 * 1024;

/**
 * Runs work on a body while its memory is reserved: as many bytes as Content-Length says, else the limit.
 *
 * @throws ApiError `unavailable` without enough memory; the errors of `work`
 */
export async function withinMemoryBudget<Result>(c: Context<App>, work: () => Promise<Result>): Promise<Result> {
  const { memoryBudget, config } = c.get('ctx');
  const { body_bytes_max } = config.limits;
  const isPlain = (c.req.header('content-encoding') ?? 'identity') === 'identity';
  const expected_bytes = isPlain ? Number(c.req.header('content-length') ?? body_bytes_max) : body_bytes_max;
  if (expected_bytes <= small_bytes) return await work();
  const release = await memoryBudget.reserveBody(Math.min(expected_bytes, body_bytes_max));
  try {
    return await work();
  } finally {
    release();
  }
}

/**
 * The body as decompressed text. Reading and decompression stop at the limit.
 *
 * @throws ApiError `limit-exceeded`; `unsupported-media-type` for an unknown encoding; `malformed-body` for a body that
 *   cannot be decompressed or is not UTF-8
 */
export async function bodyText(c: Context<App>): Promise<string> {
  return await decodeText(c, await bodyBytes(c));
}

/** The text of a body that was read before. */
export async function decodeText(c: Context<App>, sent: Uint8Array): Promise<string> {
  const { body_bytes_max } = c.get('ctx').config.limits;
  const encoding = (c.req.header('content-encoding') ?? 'identity').trim().toLowerCase();
  const decompress = encodings.get(encoding);
  if (decompress === undefined && encoding !== 'identity') {
    throw new ApiError('unsupported-media-type', 'Content-Encoding: must be gzip, deflate or zstd, or absent.');
  }
  const bytes = decompress === undefined ? sent : await unpack(sent, encoding, decompress, body_bytes_max);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(bytes);
  } catch {
    throw new ApiError('malformed-body', 'The body is not valid UTF-8.');
  }
}

async function unpack(
  sent: Uint8Array,
  encoding: string,
  decompress: Decompress,
  bytesMax: number,
): Promise<Uint8Array> {
  try {
    return await decompress(sent, { maxOutputLength: bytesMax });
  } catch (error) {
    // The runtime throws this error when the output exceeds the maximum length.
    if (error instanceof RangeError) throw tooLarge(bytesMax);
    throw new ApiError('malformed-body', `The body is not valid ${encoding}.`, { cause: error });
  }
}

/** The body as it was sent, read up to the limit. Throws ApiError `limit-exceeded`. */
export async function bodyBytes(c: Context<App>): Promise<Uint8Array<ArrayBuffer>> {
  const bytesMax = c.get('ctx').config.limits.body_bytes_max;
  const length = c.req.header('content-length');
  if (Number(length ?? 0) > bytesMax) throw tooLarge(bytesMax);
  // The runtime delivers no more bytes than Content-Length says.
  if (length !== undefined) return new Uint8Array(await c.req.raw.arrayBuffer());
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of c.req.raw.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > bytesMax) throw tooLarge(bytesMax);
    chunks.push(chunk);
  }
  return new Uint8Array(Buffer.concat(chunks));
}

function tooLarge(bytesMax: number): ApiError {
  return new ApiError(
    'limit-exceeded',
    `The decompressed body exceeds ${bytesMax} bytes (limit body_bytes_max). Split it into several requests.`,
  );
}

/**
 * A JSON body, validated by a schema. The error names every problem with its path.
 *
 * @param options `isNulKept` for a body whose text goes to ClickHouse, or to a store that keeps any text
 */
export async function parseBody<Schema extends z.ZodType>(
  c: Context<App>,
  schema: Schema,
  options: { isNulKept?: boolean } = {},
): Promise<z.output<Schema>> {
  requireJson(c);
  const text = await bodyText(c);
  const body = parseJson(text, options);
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  throw formError(result.error);
}

/** Throws ApiError `unsupported-media-type` for a body that is not declared as JSON. */
export function requireJson(c: Context<App>): void {
  const type = mediaType(c);
  if (type === 'application/json') return;
  throw new ApiError(
    'unsupported-media-type',
    `Send the body as application/json, not ${type || 'without a Content-Type'}.`,
  );
}

/** Names every problem with its path. */
export function formError({ issues }: z.ZodError): ApiError {
  return invalidValues(issues.map(({ path, message }) => ({ path: path.join('.'), message })));
}

/** The media type without its parameters; '' without a Content-Type. */
export function mediaType(c: Context<App>): string {
  return (c.req.header('content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
}

function parseJson(text: string, options: { isNulKept?: boolean }): unknown {
  try {
    return readJson(text, options);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new ApiError('malformed-body', 'The body is not valid JSON.');
  }
}
