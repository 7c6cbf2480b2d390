import { coerce, inferType, type Refusal, wholeType } from './coerce.ts';
import type { Member } from './json-reader.ts';
import { decimalOf, isSameDecimal } from './number-text.ts';
import type { PlainSlot } from './plain-row.ts';
import type { OpenField } from './prepared-rows.ts';
import { newPrecision, type TimePrecision } from './timestamp.ts';
import type { FieldType } from './types.ts';

/** What is known of a field while rows are read. */
export type Slot = PlainSlot &
  OpenField & {
    /** Not in the schema: the first accepted row of this request that has it makes it. */
    isNew: boolean;
    /** Made by this source, in this text or an earlier one: the type may be read anew. */
    isOpen: boolean;
  };

export function newSlot(name: string, type: FieldType, isNew: boolean): Slot {
  const none = { lastReading: -1, hasFraction: false, isEmpty: false };
  return { type, nameJson: JSON.stringify(name), isNew, isOpen: isNew, ...none };
}

/**
 * The type that a field which no schema names should have had, by a value that its first one did not tell of: a number that
 * only an integer holds, a list after empty ones, and in CSV, which has no types, whatever text there is.
 */
export function otherType(
  slot: Slot,
  member: Member,
  stored: string | Refusal,
  isText: boolean,
): FieldType | undefined {
  if (!slot.isOpen) return undefined;
  if (slot.isEmpty && inferType(member) === 'string[]' && !slot.nameJson.includes('.')) return 'string[]';
  const wider = widerType(slot, member, stored);
  if (wider !== undefined || typeof stored === 'string') return wider;
  return isText && stored.reason === 'wrong-type' ? 'string' : undefined;
}

/** The type that holds a whole number beyond what the field's own takes. */
function widerType({ type, hasFraction }: Slot, member: Member, stored: string | Refusal): FieldType | undefined {
  const meant = wholeType(member);
  if (type === 'integer') return meant === 'unsigned' ? meant : undefined;
  if (type !== 'double' || hasFraction) return undefined;
  if (meant !== undefined || typeof stored === 'string' || stored.reason !== 'not-exact') return meant;
  return (['integer', 'unsigned'] as const).find((wider) => typeof coerce(wider, member, newPrecision) === 'string');
}

/**
 * A value of a field that no schema names. A whole number beyond 64 bits is a double only with the digits that such a one is
 * answered with.
 */
export function coerceNew(type: FieldType, member: Member, precision: TimePrecision): string | Refusal {
  const stored = coerce(type, member, precision);
  const isLong = type === 'double' && typeof stored === 'string' && /^-?[0-9]{17,}$/.test(stored);
  if (!isLong || wholeType(member) !== undefined || isSameDecimal(decimalOf(stored), shortest(stored))) return stored;
  return {
    reason: 'not-exact',
    detail: 'a double would be answered with other digits; declare the field as decimal(p,0), or send it in quotes',
  };
}

const shortest = (text: string) => decimalOf(String(Number(text)));
