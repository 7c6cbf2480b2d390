import * as z from 'zod';
import { ApiError } from '../core/errors.ts';

/** Names that rows have, and those of the fields that their values are stored in. */
export type Rename = ReadonlyMap<string, string>;

const renames_max = 1_000;

/** As requests have it: an object whose members are the names in the rows. */
export const renameForm = z
  .record(z.string(), z.string().min(1))
  .refine((names) => Object.keys(names).length <= renames_max, `at most ${renames_max} names`)
  .refine(
    (names) => new Set(Object.values(names)).size === Object.keys(names).length,
    'two names cannot become the same one',
  );

export function renameOf(names: Record<string, string> | undefined): Rename | undefined {
  return names === undefined ? undefined : new Map(Object.entries(names));
}

/** Reads the JSON text of one. Throws TimestoreError `invalid-request`. */
export function readRename(text: string): Rename {
  let names: unknown;
  try {
    names = JSON.parse(text);
  } catch {
    names = undefined;
  }
  const { data, error } = renameForm.safeParse(names);
  if (data !== undefined) return new Map(Object.entries(data));
  const why = error?.issues[0]?.message ?? '';
  throw new ApiError(
    'invalid-request',
    `rename: a JSON object with the names in the rows and those of the fields, such as {"_time":"timestamp"} (${why}).`,
  );
}

export function renamed(rename: Rename | undefined, name: string): string {
  return rename?.get(name) ?? name;
}

/** The first name that is to be another, and is not among these. */
export function missingName(rename: Rename | undefined, names: string[]): string | undefined {
  return [...(rename?.keys() ?? [])].find((name) => !names.includes(name));
}
