import type { FieldType } from '../../../../src/schema/types.ts';

/** A table of a query set: its fields as they are declared, and rows as they are sent. */
export type SetTable = {
  name: string;
  timestampColumn: string;
  keyFields: string[];
  fields: { name: string; type: FieldType }[];
  rows: Record<string, unknown>[];
};

/** Numbers that are the same in each run. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** From 0, and below 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A whole number, both ends included. */
  whole(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1));
  }

  pick<T>(items: readonly T[]): T {
    return items[this.whole(0, items.length - 1)] as T;
  }

  /** One of the first items more often than one of the last. */
  early<T>(items: readonly T[]): T {
    return items[Math.floor(this.next() ** 2 * items.length)] as T;
  }

  chance(part: number): boolean {
    return this.next() < part;
  }

  /** Digits of a 64-bit whole number. */
  long(): string {
    return String(BigInt.asIntN(63, (BigInt(this.whole(0, 2 ** 31)) << 32n) | BigInt(this.whole(0, 2 ** 32 - 1))));
  }

  words(from: readonly string[], count: number): string {
    return Array.from({ length: count }, () => this.pick(from)).join(' ');
  }

  /** An amount of money in whole hundredths, as text. */
  money(from: number, to: number): string {
    return hundredths(this.whole(from * 100, to * 100));
  }
}

export function hundredths(cents: number): string {
  return `${cents < 0 ? '-' : ''}${Math.floor(Math.abs(cents) / 100)}.${String(Math.abs(cents) % 100).padStart(2, '0')}`;
}

/** The midnight of a day in UTC. */
export function day(year: number, month: number, date: number): number {
  return Date.UTC(year, month - 1, date);
}

export const day_ms = 86_400_000;

export function time(at_ms: number): string {
  return new Date(at_ms).toISOString();
}

/** Fields from a text: a type, a colon and the names that have it, on each line. */
export function fieldsOf(text: string): SetTable['fields'] {
  return text
    .trim()
    .split('\n')
    .flatMap((line) => {
      const [type = '', names = ''] = line.split(': ');
      return names
        .trim()
        .split(/\s+/)
        .map((name) => ({ name, type: type.trim() as FieldType }));
    });
}
