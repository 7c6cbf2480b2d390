const holdsText = /String|Enum|JSON|Dynamic|Variant|Object/;

/** Whether a type of ClickHouse has times with six or nine digits of a second, in lists or not, and holds no text. */
export function isFinerTime(type: string): boolean {
  return /DateTime64\([69]\b/.test(type) && !holdsText.test(type);
}

/** A value as it is answered: of the digits of a second as many as there is something in, three, six or nine. */
export function withoutZeros(value: string): string {
  return value.replace(/(T\d\d:\d\d:\d\d\.\d{3}(?:\d{3})??)(?:000){1,2}Z/g, '$1Z');
}
