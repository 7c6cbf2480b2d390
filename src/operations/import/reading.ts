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

/** A text object that is partly read. */
export const textObject = z.object({
  /** The attempt of its lines in the staging table, and their number. */
  attempt: z.number(),
  lines: z.number(),
  /** What comes next: the place of the stored line, from 0; the line for messages, from 1; the row, from 0. */
  place: z.number(),
  line: z.number(),
  row: z.number(),
  /** The names in the first line of CSV. */
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
  /** The staging table, which has another name after each restart. */
  staging: z.string().optional(),
  /** Fields that are added to the table. */
  fields: z
    .array(
      z.object({
        name: z.string(),
        type: fieldType,
        // What the text values read so far have shown.
        hasFraction: z.boolean().default(false),
        isEmpty: z.boolean().default(false),
      }),
    )
    .default([]),
  /** Types of added fields that later values required: the reading restarted with them. */
  hints: z.record(z.string(), fieldType).default({}),
  /** The columns of each object that were read. */
  read: z.array(z.array(z.string())).default([]),
  /** The attempts with rows, in order. `stored` counts the stored rows; if absent, all are stored. */
  staged: z.array(stagedRows).default([]),
  /** The first invalid rows of text objects. */
  errors: z.array(wrongRow).default([]),
  text: textObject.optional(),
});

export type Reading = z.output<typeof readingSchema>;
