/** The most that a UTF-16 unit becomes. */
export const utf8BytesOfUnit = 3;

/** Only text that may be over the limit is counted exactly. */
export function isLarger(text: string, bytesMax: number): boolean {
  return text.length * utf8BytesOfUnit > bytesMax && new TextEncoder().encode(text).length > bytesMax;
}
