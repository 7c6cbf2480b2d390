import * as z from 'zod';

export const idempotencyRule = '1 to 255 visible ASCII characters, without spaces';

/** A key under which a client repeats a request. It comes as a header, too. */
export const idempotencyKey = z.string().regex(/^[\x21-\x7e]{1,255}$/, idempotencyRule);
