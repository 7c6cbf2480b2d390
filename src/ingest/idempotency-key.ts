import * as z from 'zod';

export const idempotencyRule = '1 to 255 visible ASCII characters, without spaces';

/** The key of a retried request, in the body or the header `Idempotency-Key`. */
export const idempotencyKey = z.string().regex(/^[\x21-\x7e]{1,255}$/, idempotencyRule);
