type Element = { tag: number; content: Buffer; end: number };

/** @throws RangeError for bytes that end early */
function element(bytes: Buffer, at: number): Element {
  const tag = bytes.readUInt8(at);
  const short = bytes.readUInt8(at + 1);
  const size = short < 0x80 ? 0 : short & 0x7f;
  const length = size === 0 ? short : bytes.readUIntBE(at + 2, size);
  const from = at + 2 + size;
  if (from + length > bytes.length) throw new RangeError('DER ends early');
  return { tag, content: bytes.subarray(from, from + length), end: from + length };
}

/**
 * The end of a certificate's validity, in milliseconds since 1970.
 *
 * @throws Error for bytes that are not a certificate
 */
export function notAfter_ms(der: Buffer): number {
  const signed = element(element(der, 0).content, 0).content;
  let at = 0;
  const next = () => {
    const found = element(signed, at);
    at = found.end;
    return found;
  };
  // Version (absent in version 1), serial number, algorithm, issuer, validity.
  if (next().tag === 0xa0) next();
  next();
  next();
  const validity = next().content;
  const { tag, content } = element(validity, element(validity, 0).end);
  const text = content.toString('latin1');
  const [, year = '', month, day, hour, minute, second] =
    /^(\d{2}|\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/.exec(text) ?? [];
  if (tag !== (year.length === 4 ? 0x18 : 0x17)) throw new Error('not a date');
  const century = year.length === 4 ? '' : Number(year) >= 50 ? '19' : '20';
  return Date.parse(`${century}${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
}
