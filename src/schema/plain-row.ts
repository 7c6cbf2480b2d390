import { coerce } from './coerce.ts';
import { JsonReader, unwrapped } from './json-reader.ts';
import { type Time, type TimePrecision, utcTimestamp } from './timestamp.ts';
import { type FieldType, precisionOf, type TableSchema } from './types.ts';

/** A field while rows are read. */
export type PlainSlot = {
  type: FieldType;
  nameJson: string;
  /** The last row with the field, to detect duplicates. */
  lastReading: number;
  isNew: boolean;
  /** The type is still inferred, which needs the full reader. */
  isOpen: boolean;
  hasFraction: boolean;
  isEmpty: boolean;
  /** The values that the field takes, as stored. */
  values?: ReadonlySet<string> | undefined;
};

/** A row that is stored as sent except its timestamps. See `PreparedRows`. */
type PlainRow = Time & { line: string; end: number };

/**
 * The fast path for the most common rows: known fields with values of their types, in the same order as in the previous row.
 * It checks the text in place and copies it in one piece. For all other rows `read` returns undefined, and the full reader
 * reads the row again.
 */
export class PlainRows<Slot extends PlainSlot> {
  readonly #text: string;
  readonly #slots: Map<string, Slot>;
  readonly #timestamp: Slot | undefined;
  readonly #precision: TimePrecision;
  /** The fields of the previous row, in its order. */
  readonly #order: (Slot | undefined)[] = [];
  /** The next offsets of characters that a plain string cannot contain. */
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

  /** Reads the row whose brace is at `start`. `reading` is a new number for each row. */
  read(start: number, reading: number): PlainRow | undefined {
    const text = this.#text;
    let time_ms: number | undefined;
    let finer = '';
    let line = '';
    /** Begin of the text that is not in `line` yet. */
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
          // The stored form: a space, at least three digits of milliseconds, and no zone, because all times are UTC.
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
      if (end < 0 || slot.values?.has(text.slice(at, end)) === false) return undefined;
      at = afterSpaces(text, end);
      const next = text.charCodeAt(at);
      at += 1;
      if (next === comma) continue;
      if (next !== closingBrace || time_ms === undefined) return undefined;
      return { line: line + text.slice(kept, at), time_ms, finer, end: at };
    }
  }

  /** The field at offset `at`, the n-th of its row. */
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

  /** The end of a string without escapes and invalid characters; or -1. */
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

/** Lengths of `"2026-05-01` and of `2026-05-01T10:00:00.000Z`. */
const dateLength = 11;
const withFraction = 24;
/** Length of a quoted time before its fractional digits. */
const withoutFraction = 23;

const quote = 0x22;
const comma = 0x2c;
const minus = 0x2d;
const colon = 0x3a;
const closingBrace = 0x7d;

// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON strings cannot contain them
const controlCharacter = /[\u0000-\u001f]/g;

const found = (index: number) => (index < 0 ? Number.POSITIVE_INFINITY : index);

function afterSpaces(text: string, at: number): number {
  let after = at;
  while (text.charCodeAt(after) === 0x20) after += 1;
  return after;
}

/** Digits that any double and any 64-bit integer can represent exactly. */
const exactDigits = 15;
/** Digits of a fraction that cannot underflow to zero. */
const fractionDigits_max = 300;

/** The end of a number, without its exponent, whose integer part is short enough to be exact; or -1. */
function numberEnd(text: string, start: number, mayHaveFraction: boolean): number {
  const isNegative = text.charCodeAt(start) === minus;
  const whole = isNegative ? start + 1 : start;
  let at = afterDigits(text, whole);
  if (at === whole) return -1;
  // JSON has no leading zeros, and an integer has no negative zero.
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
