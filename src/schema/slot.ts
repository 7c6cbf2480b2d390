import { coerce, inferType, notAllowed, type Refusal, wholeType } from './coerce.ts';
import type { Member } from './json-reader.ts';
import { decimalOf, isSameDecimal } from './number-text.ts';
import type { PlainSlot } from './plain-row.ts';
import type { OpenField } from './prepared-rows.ts';
import { newPrecision, type TimePrecision } from './timestamp.ts';
import type { Field, FieldType } from './types.ts';

/** The state of a field while rows are read. */
export type Slot = PlainSlot &
  OpenField & {
    /** Not in the schema: the first accepted row with the field adds it. */
    isNew: boolean;
    /** Added by this source, in this text or an earlier one: its type can still change. */
    isOpen: boolean;
  };

export function newSlot(name: string, type: FieldType, isNew: boolean): Slot {
  const none = { lastReading: -1, hasFraction: false, isEmpty: false };
  return { type, nameJson: JSON.stringify(name), isNew, isOpen: isNew, ...none };
}

/** @param open the state of inference, for a field that the same source has added */
export function knownSlot({ name, type, values }: Field, open: OpenField | undefined): Slot {
  const slot = { ...newSlot(name, type, false), isOpen: open !== undefined, ...open };
  return values === undefined ? slot : { ...slot, values: new Set(values) };
}

/**
 * The type that a new field needs for a later value than its first one: an integer type for a large number, a list type after
 * empty lists, and for CSV, which has no types, any type.
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

/** The type for an integer beyond the range of the field's type. */
function widerType({ type, hasFraction }: Slot, member: Member, stored: string | Refusal): FieldType | undefined {
  const meant = wholeType(member);
  if (type === 'integer') return meant === 'unsigned' ? meant : undefined;
  if (type !== 'double' || hasFraction) return undefined;
  if (meant !== undefined || typeof stored === 'string' || stored.reason !== 'not-exact') return meant;
  return (['integer', 'unsigned'] as const).find((wider) => typeof coerce(wider, member, newPrecision) === 'string');
}

/** The value of a field as stored, or the reason to reject it. */
export function storedValue(slot: Slot, value: Member, precision: TimePrecision): string | Refusal {
  const stored = (slot.isOpen ? coerceNew : coerce)(slot.type, value, precision);
  return typeof stored === 'string' ? (notAllowed(slot.values, stored) ?? stored) : stored;
}

/**
 * A value of a new field. An integer beyond 64 bits is a double only if it has the digits with which that double is returned.
 */
function coerceNew(type: FieldType, member: Member, precision: TimePrecision): string | Refusal {
  const stored = coerce(type, member, precision);
  const isLong = type === 'double' && typeof stored === 'string' && /^-?[0-9]{17,}$/.test(stored);
  if (!isLong || wholeType(member) !== undefined || isSameDecimal(decimalOf(stored), shortest(stored))) return stored;
  return {
    reason: 'not-exact',
    detail: 'a double would be returned with other digits; declare the field as decimal(p,0), or send it in quotes',
  };
}

const shortest = (text: string) => decimalOf(String(Number(text)));
