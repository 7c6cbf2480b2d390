const newline = 10;
const carriageReturn = 13;

/** Finds line ends in bytes: LF, CR LF or CR in CSV; in JSON a single CR is whitespace. */
export class LineEnds {
  bytes: Buffer;
  readonly #hasReturns: boolean;
  /** The next CR without an LF. */
  #lone = -1;

  constructor(bytes: Buffer, hasReturns: boolean) {
    this.bytes = bytes;
    this.#hasReturns = hasReturns;
  }

  /** Continues with the rest of the same bytes. */
  moveTo(rest: Buffer): void {
    this.#lone -= this.bytes.length - rest.length;
    this.bytes = rest;
  }

  /** The last byte of the next line end; -1 without one. */
  next(from: number): number {
    const end = this.bytes.indexOf(newline, from);
    if (!this.#hasReturns) return end;
    if (this.#lone < from) this.#lone = this.#loneFrom(from);
    return this.#lone === Number.POSITIVE_INFINITY || (end >= 0 && end < this.#lone) ? end : this.#lone;
  }

  /** After the last byte an LF may follow, so that one there does not count. */
  #loneFrom(from: number): number {
    let at = this.bytes.indexOf(carriageReturn, from);
    while (at >= 0 && this.bytes[at + 1] === newline) at = this.bytes.indexOf(carriageReturn, at + 1);
    return at < 0 || at + 1 === this.bytes.length ? Number.POSITIVE_INFINITY : at;
  }
}
