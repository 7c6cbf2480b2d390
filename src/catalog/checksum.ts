import { createHash } from 'node:crypto';

/** The checksum of a schema's canonical text. */
export function checksumOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
