import * as z from 'zod';
import { fieldType } from '../../schema/types.ts';

export const wrongRow = z.object({
  object: z.string(),
  row: z.number(),
  line: z.number().optional(),
  field: z.string(),
  reason: z.string(),
  detail: z.string().optional(),
  value: z.string(),
});

/** An object of text of which a part is read. */
export const textObject = z.object({
  /** Where its lines are, and how many. */
  attempt: z.number(),
  lines: z.number(),
  /** What comes next: the line as it lies there, from 0; as people count, from 1; the row, from 0. */
  place: z.number(),
  line: z.number(),
  row: z.number(),
  /** Of CSV, its first line. */
  names: z.array(z.string()).optional(),
  /** Names in the rows that were read. */
  seen: z.array(z.string()),
});

export type TextObject = z.output<typeof textObject>;

export const stagedRows = z.object({
  attempt: z.number(),
  rows: z.number(),
  wrong: z.number(),
  stored: z.number().optional(),
});

export const readingSchema = z.object({
  /** Where rows are before they are moved; another one each time that it begins anew. */
  staging: z.string().optional(),
  /** Fields that the table is to have, besides its own. */
  fields: z
    .array(
      z.object({
        name: z.string(),
        type: fieldType,
        // What values of text have shown so far.
        hasFraction: z.boolean().default(false),
        isEmpty: z.boolean().default(false),
      }),
    )
    .default([]),
  /** Types of such fields that later values have told: the reading began anew with them. */
  hints: z.record(z.string(), fieldType).default({}),
  /** What of the columns of each object was read. */
  read: z.array(z.array(z.string())).default([]),
  /** What was read, in its order, and how much of it is stored: all if left out. */
  staged: z.array(stagedRows).default([]),
  /** The first rows of text that cannot be stored. */
  errors: z.array(wrongRow).default([]),
  text: textObject.optional(),
});

export type Reading = z.output<typeof readingSchema>;
