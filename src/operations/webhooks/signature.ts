/**
 * The headers that identify and sign a message, as https://www.standardwebhooks.com specifies.
 *
 * @param secret undefined: the message is not signed
 * @param at_ms time of this attempt
 */
export async function signedHeaders(
  secret: string | undefined,
  id: string,
  at_ms: number,
  body: string,
): Promise<Record<string, string>> {
  const timestamp = Math.floor(at_ms / 1000);
  const headers = { 'webhook-id': id, 'webhook-timestamp': String(timestamp) };
  if (secret === undefined) return headers;
  return { ...headers, 'webhook-signature': `v1,${await sign(secret, `${id}.${timestamp}.${body}`)}` };
}

/** HMAC-SHA-256 in base64. The key is the secret after its prefix `whsec_`. */
async function sign(secret: string, text: string): Promise<string> {
  const bytes = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  const key = await crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  return Buffer.from(await crypto.subtle.sign('HMAC', key, Buffer.from(text))).toString('base64');
}
