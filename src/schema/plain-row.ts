import { coerce } from './coerce.ts';
import { JsonReader, unwrapped } from './json-reader.ts';
import { type Time, type TimePrecision, utcTimestamp } from './timestamp.ts';
import { type FieldType, precisionOf, type TableSchema } from './types.ts';

/** What a field is known by while rows are read. */
export type PlainSlot = {
  type: FieldType;
  nameJson: string;
  /** The last reading of a row that met the field, to find one that names it twice. */
  lastReading: number;
  isNew: boolean;
  /** The type may turn out to be another; what tells it is for the full reading. */
  isOpen: boolean;
  hasFraction: boolean;
  isEmpty: boolean;
};

/** A row that is stored as it was sent, but for its timestamps: as in `PreparedRows`. */
type PlainRow = Time & { line: string; end: number };

/**
 * Reads the rows that nearly all clients nearly always send: fields that the schema has, each with a value of its type,
 * in the same order as in the row before. Their text is checked in place and kept in one piece. Whatever else a row
 * has, it is not for here to judge: `read` answers undefined, and the row is read again in full.
 */
export class PlainRows<Slot extends PlainSlot> {
  readonly #text: string;
  readonly #slots: Map<string, Slot>;
  readonly #timestamp: Slot | undefined;
  readonly #precision: TimePrecision;
  /** The fields of the row before, in its order. */
  readonly #order: (Slot | undefined)[] = [];
  /** The next places of what no plain string has in it. */
  #backslash = -1;
  #control = -1;

  constructor(
    text: string,
    slots: Map<string, Slot>,
    schema: Pick<TableSchema, 'timestampColumn' | 'timestampPrecision'>,
  ) {
    this.#text = text;
    this.#slots = slots;
    this.#timestamp = slots.get(schema.timestampColumn);
    this.#precision = precisionOf(schema);
  }

  /** The row whose brace is at `start`. `reading` is a number that no reading before had. */
  read(start: number, reading: number): PlainRow | undefined {
    const text = this.#text;
    let time_ms: number | undefined;
    let finer = '';
    let line = '';
    /** Where the text begins that is not in `line` yet. */
    let kept = start + 1;
    let at = start + 1;
    for (let n = 0; ; n += 1) {
      at = afterSpaces(text, at);
      const slot = this.#slotAt(at, n);
      if (slot === undefined || slot.isNew || slot.lastReading === reading) return undefined;
      slot.lastReading = reading;
      at = afterSpaces(text, at + slot.nameJson.length);
      if (text.charCodeAt(at) !== colon) return undefined;
      at = afterSpaces(text, at + 1);
      let end = -1;
      switch (slot.type) {
        case 'string':
          end = this.#stringEnd(at);
          break;
        case 'double':
          end = numberEnd(text, at, true);
          if (slot.isOpen && !slot.hasFraction && text.slice(at, end).includes('.')) return undefined;
          break;
        case 'integer':
          end = numberEnd(text, at, false);
          break;
        case 'unsigned':
          if (text.charCodeAt(at) !== minus) end = numberEnd(text, at, false);
          break;
        case 'boolean':
          if (text.startsWith('true', at)) end = at + 4;
          else if (text.startsWith('false', at)) end = at + 5;
          break;
        case 'timestamp': {
          end = this.#stringEnd(at);
          if (end < 0) return undefined;
          const parsed_ms = utcTimestamp(text, at + 1, end - 1);
          if (parsed_ms === undefined || end - at - withoutFraction > this.#precision) return undefined;
          if (slot === this.#timestamp) {
            time_ms = parsed_ms;
            finer = text.slice(at + withoutFraction + 1, end - 2);
          }
          // As the store writes it: a space, three digits of milliseconds at least, and no zone, for all are of UTC.
          line += `${text.slice(kept, at + dateLength)} `;
          if (end - at - 2 < withFraction) line += `${text.slice(at + dateLength + 1, end - 2)}.000"`;
          else line += `${text.slice(at + dateLength + 1, end - 2)}"`;
          kept = end;
          break;
        }
        default: {
          if (slot.isEmpty) return undefined;
          const reader = new JsonReader(text, at);
          const value = reader.value();
          const meant = slot.type === 'json' ? unwrapped(value) : value;
          const stored = value.kind === 'null' ? undefined : coerce(slot.type, meant, this.#precision);
          if (typeof stored !== 'string') return undefined;
          end = reader.offset;
          line += text.slice(kept, at) + stored;
          kept = end;
        }
      }
      if (end < 0) return undefined;
      at = afterSpaces(text, end);
      const next = text.charCodeAt(at);
      at += 1;
      if (next === comma) continue;
      if (next !== closingBrace || time_ms === undefined) return undefined;
      return { line: line + text.slice(kept, at), time_ms, finer, end: at };
    }
  }

  /** The field that is named at `at`, as the n-th of its row. */
  #slotAt(at: number, n: number): Slot | undefined {
    const text = this.#text;
    const guess = this.#order[n];
    if (guess !== undefined && text.startsWith(guess.nameJson, at)) return guess;
    const end = this.#stringEnd(at);
    if (end < 0) return undefined;
    const slot = this.#slots.get(text.slice(at + 1, end - 1));
    this.#order[n] = slot;
    return slot;
  }

  /** After a string that stands for itself, without an escape and without what must not be in one; or -1. */
  #stringEnd(at: number): number {
    const text = this.#text;
    if (text.charCodeAt(at) !== quote) return -1;
    const end = text.indexOf('"', at + 1);
    if (end < 0) return -1;
    if (this.#backslash < at) this.#backslash = found(text.indexOf('\\', at));
    if (this.#control < at) {
      controlCharacter.lastIndex = at;
      this.#control = found(controlCharacter.exec(text)?.index ?? -1);
    }
    return end < this.#backslash && end < this.#control ? end + 1 : -1;
  }
}

/** Of `"2026-05-01` and of `2026-05-01T10:00:00.000Z`. */
const dateLength = 11;
const withFraction = 24;
/** Of a text in quotes before the digits of its fraction, and after them. */
const withoutFraction = 23;

const quote = 0x22;
const comma = 0x2c;
const minus = 0x2d;
const colon = 0x3a;
const closingBrace = 0x7d;

// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON strings may not hold them
const controlCharacter = /[\u0000-\u001f]/g;

const found = (index: number) => (index < 0 ? Number.POSITIVE_INFINITY : index);

function afterSpaces(text: string, at: number): number {
  let after = at;
  while (text.charCodeAt(after) === 0x20) after += 1;
  return after;
}

/** Digits of a whole number of which any double and any 64-bit integer holds as many. */
const exactDigits = 15;
/** Of a fraction that is not so near to zero that a double becomes it. */
const fractionDigits_max = 300;

/** After a number whose whole part is short enough to be exact, or -1. An exponent, if there is one, is not part of it. */
function numberEnd(text: string, start: number, mayHaveFraction: boolean): number {
  const isNegative = text.charCodeAt(start) === minus;
  const whole = isNegative ? start + 1 : start;
  let at = afterDigits(text, whole);
  if (at === whole) return -1;
  // No leading zeros in JSON, and no sign of zero in an integer.
  if (text.charCodeAt(whole) === 0x30 && (at > whole + 1 || isNegative)) return -1;
  if (at - whole > exactDigits) return -1;
  if (text.charCodeAt(at) === 0x2e) {
    const fraction = at + 1;
    at = afterDigits(text, fraction);
    if (!mayHaveFraction || at === fraction || at - fraction > fractionDigits_max) return -1;
  }
  return at;
}

function afterDigits(text: string, at: number): number {
  let after = at;
  for (;;) {
    const code = text.charCodeAt(after);
    if (!(code >= 0x30 && code <= 0x39)) return after;
    after += 1;
  }
}
