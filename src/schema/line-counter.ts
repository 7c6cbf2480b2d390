import { lineEndsIn } from './csv-reader.ts';

/** Computes line numbers of ascending offsets in one pass over the text. */
export class LineCounter {
  #line: number;
  #at = 0;

  constructor(first: number) {
    this.#line = first;
  }

  lineAt(text: string, offset: number): number {
    // Does not split a pair of CR and LF.
    const end = text.charCodeAt(offset) === 0x0a && text.charCodeAt(offset - 1) === 0x0d ? offset - 1 : offset;
    this.#line += lineEndsIn(text.slice(this.#at, end));
    this.#at = end;
    return this.#line;
  }
}
