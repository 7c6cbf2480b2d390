/** Maximum bytes of a UTF-16 unit in UTF-8. */
export const utf8BytesOfUnit = 3;

/** Counts bytes only if the text may exceed the limit. */
export function isLarger(text: string, bytesMax: number): boolean {
  return text.length * utf8BytesOfUnit > bytesMax && new TextEncoder().encode(text).length > bytesMax;
}
