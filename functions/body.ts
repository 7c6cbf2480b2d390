import type { Context } from 'hono';
import type { z } from 'zod';
import { TimestoreError } from '../src/errors.ts';
import type { App } from './app.ts';

/**
 * The body as text, read no further than the limit.
 *
 * @throws TimestoreError `limit-exceeded`, `unsupported-media-type` for an encoding, `malformed-body` for what is not UTF-8
 */
export async function bodyText(c: Context<App>): Promise<string> {
  const { body_bytes_max } = c.get('timestore').config.limits;
  const encoding = c.req.header('content-encoding') ?? 'identity';
  if (encoding.toLowerCase() !== 'identity') {
    throw new TimestoreError(
      'unsupported-media-type',
      `Content-Encoding ${encoding} is not understood; send the body as it is.`,
    );
  }
  const tooLarge = () =>
    new TimestoreError('limit-exceeded', `The body has more than ${body_bytes_max} bytes (limit body_bytes_max).`);
  if (Number(c.req.header('content-length') ?? 0) > body_bytes_max) throw tooLarge();
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false });
  let bytes = 0;
  let text = '';
  try {
    for await (const chunk of c.req.raw.body ?? []) {
      bytes += chunk.byteLength;
      if (bytes > body_bytes_max) throw tooLarge();
      text += decoder.decode(chunk, { stream: true });
    }
    return text + decoder.decode();
  } catch (error) {
    if (error instanceof TypeError) throw new TimestoreError('malformed-body', 'The body is not valid UTF-8.');
    throw error;
  }
}

/** A JSON body in the form that a schema describes. Every problem is named, with its path. */
export async function bodyAs<Schema extends z.ZodType>(c: Context<App>, schema: Schema): Promise<z.output<Schema>> {
  const type = mediaType(c);
  if (type !== 'application/json') {
    throw new TimestoreError(
      'unsupported-media-type',
      `Send the body as application/json, not ${type || 'without a type'}.`,
    );
  }
  const result = schema.safeParse(parseJson(await bodyText(c)));
  if (result.success) return result.data;
  const problems = result.error.issues.map(({ path, message }) => ({ path: path.join('.'), message }));
  throw new TimestoreError(
    'invalid-request',
    `${problems.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`)).join('; ')}.`,
    { extra: { problems } },
  );
}

/** The media type without its parameters; '' when there is none. */
export function mediaType(c: Context<App>): string {
  return (c.req.header('content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new TimestoreError('malformed-body', 'The body is not valid JSON.');
  }
}
