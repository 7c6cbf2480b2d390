import { createHash } from 'node:crypto';

/** Of a schema's canonical text, as the catalogue keeps it. */
export function checksumOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
