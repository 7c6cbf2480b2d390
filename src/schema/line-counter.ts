import { lineEndsIn } from './csv-reader.ts';

/** Tells the lines of places in one text, which are asked for in their order: the text is looked through once. */
export class LineCounter {
  #line: number;
  #at = 0;

  constructor(first: number) {
    this.#line = first;
  }

  lineAt(text: string, offset: number): number {
    // A pair of CR and LF is not cut.
    const end = text.charCodeAt(offset) === 0x0a && text.charCodeAt(offset - 1) === 0x0d ? offset - 1 : offset;
    this.#line += lineEndsIn(text.slice(this.#at, end));
    this.#at = end;
    return this.#line;
  }
}
