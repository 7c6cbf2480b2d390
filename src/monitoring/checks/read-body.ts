/**
 * Reads the beginning of a body and cancels the rest: an unread body keeps its connection.
 *
 * @throws Error if the body ends early, or the signal of the request aborts
 */
export async function readText(
  { body }: Pick<Response, 'body'>,
  bytes_max: number,
): Promise<{ text: string; isCut: boolean }> {
  if (body === null) return { text: '', isCut: false };
  const reader = (body as ReadableStream<Uint8Array>).getReader();
  const parts: Uint8Array[] = [];
  let left = bytes_max;
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      parts.push(value.subarray(0, left));
      left -= value.byteLength;
      if (left < 0) break;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
  return { text: new TextDecoder().decode(Buffer.concat(parts)), isCut: left < 0 };
}
