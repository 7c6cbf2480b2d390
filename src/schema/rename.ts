import * as z from 'zod';
import { ApiError } from '../core/errors.ts';

/** Field names by names in the rows. */
export type Rename = ReadonlyMap<string, string>;

const renames_max = 1_000;

/** The form in requests: an object with the names in the rows as members. */
export const renameForm = z
  .record(z.string(), z.string().min(1))
  .refine((names) => Object.keys(names).length <= renames_max, `at most ${renames_max} names`)
  .refine(
    (names) => new Set(Object.values(names)).size === Object.keys(names).length,
    'two names cannot become the same name',
  );

export function renameOf(names: Record<string, string> | undefined): Rename | undefined {
  return names === undefined ? undefined : new Map(Object.entries(names));
}

/** Parses JSON text. Throws ApiError `invalid-request`. */
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

/** The first renamed name that is not among these names. */
export function missingName(rename: Rename | undefined, names: string[]): string | undefined {
  return [...(rename?.keys() ?? [])].find((name) => !names.includes(name));
}
