import { inferType, type Refusal } from './coerce.ts';
import type { Member } from './json-reader.ts';
import type { PlainSlot } from './plain-row.ts';
import type { FieldType } from './types.ts';

/** What is known of a field while rows are read. */
export type Slot = PlainSlot & {
  /** Not in the schema: the first accepted row of this request that has it makes it. */
  isNew: boolean;
  /** Made by this source, in this text or an earlier one: the type may be read anew. */
  isOpen: boolean;
  /** An accepted row has a value in it that is not whole. */
  hasFraction: boolean;
  /** All values so far are empty lists, of which nobody knows what they are lists of. */
  isEmpty: boolean;
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
  if (typeof stored === 'string') return undefined;
  if (slot.type === 'double' && !slot.hasFraction && stored.reason === 'not-exact') return 'integer';
  return isText && stored.reason === 'wrong-type' ? 'string' : undefined;
}
