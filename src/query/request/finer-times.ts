const holdsText = /String|Enum|JSON|Dynamic|Variant|Object/;

/** Whether a ClickHouse type contains times with six or nine digits of a second and no text that could look like one. */
export function isFinerTime(type: string): boolean {
  return /DateTime64\([69]\b/.test(type) && !holdsText.test(type);
}

/** Removes trailing groups of zeros from the digits of seconds: three, six or nine digits remain. */
export function withoutZeros(value: string): string {
  return value.replace(/(T\d\d:\d\d:\d\d\.\d{3}(?:\d{3})??)(?:000){1,2}Z/g, '$1Z');
}
