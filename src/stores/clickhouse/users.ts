import * as z from 'zod';
import usersSql from '../../../sql/clickhouse/users.sql';
import { checkRows } from '../check-rows.ts';
import type { ClickHouse } from './client.ts';

const settingRow: z.ZodType<Found> = z.object({
  name: z.string(),
  value: z.string(),
  min: z.string().nullable(),
  max: z.string().nullable(),
  readonly: z.number(),
});

/** A setting of a user, and the range that a query may change it to. */
export type UserSetting = { name: string; value: string; min?: string; max?: string; isConst: boolean };

const withoutComments = (sql: string) => sql.replace(/^\s*--.*\n/gm, '');

/** The GRANT statements of a user, without its name. `sql`: default `users.sql`. */
export function readGrants(user: string, sql = usersSql): string[] {
  return [...withoutComments(sql).matchAll(/^(GRANT [^;]+?) TO (\w+);/gm)]
    .filter(([, , name]) => name === user)
    .map(([, grant = '']) => grant);
}

/** The settings in the definition of a user. `sql`: default `users.sql`. */
export function readUserSettings(user: string, sql = usersSql): UserSetting[] {
  const clause =
    new RegExp(`CREATE USER IF NOT EXISTS ${user} [^;]*? SETTINGS\\s([^;]*);`).exec(withoutComments(sql))?.[1] ?? '';
  return clause.split(',').flatMap((text) => {
    const [, name, value, min, max, fixed] =
      /^\s*(\w+) = (\S+)(?: MIN (\S+))?(?: MAX (\S+))?( CONST)?\s*$/.exec(text) ?? [];
    if (name === undefined || value === undefined) return [];
    return [
      {
        name,
        value,
        ...(min !== undefined && { min }),
        ...(max !== undefined && { max }),
        isConst: fixed !== undefined,
      },
    ];
  });
}

type Found = { name: string; value: string; min: string | null; max: string | null; readonly: number };

/**
 * Compares the settings of the reader with `users.sql`, and reports missing limits: with them a query could use more resources
 * or access more than intended. Stricter settings are fine.
 *
 * @returns one problem per setting
 * @throws StoreError, ClickHouseError
 */
export async function findMissingLimits(reader: ClickHouse): Promise<string[]> {
  const wanted = readUserSettings('timestore_reader');
  const found = checkRows(
    settingRow,
    await reader.rows(
      'SELECT name, value, min, max, readonly FROM system.settings WHERE name IN ({names:Array(String)})',
      { names: wanted.map(({ name }) => name) },
    ),
  );
  const settings = new Map(found.map((each) => [each.name, each]));
  return wanted.flatMap((each) => {
    const is = settings.get(each.name);
    const problem = is === undefined ? 'it is unknown to the server' : describeProblem(each, is);
    return problem === undefined ? [] : [`${each.name}: ${problem}`];
  });
}

function describeProblem({ name, value, min, max, isConst }: UserSetting, is: Found): string | undefined {
  // With 2 the user cannot change it either.
  if (name === 'readonly') return ['1', '2'].includes(is.value) ? undefined : `it is ${is.value}, not ${value}`;
  if (isConst) {
    if (is.value !== value) return `it is ${is.value}, not ${value}`;
    return is.readonly === 1 ? undefined : 'a query may change it';
  }
  const [now, least, most] = [Number(is.value), Number(min), Number(max)];
  if (now < least || now > most) return `it is ${now === 0 ? '0, no limit' : is.value}; at most ${max}`;
  if (is.readonly === 1) return undefined;
  if (is.max === null || Number(is.max) > most) return `a query may raise it beyond ${max}`;
  return is.min === null || Number(is.min) <= 0 ? 'a query may set it to 0, no limit' : undefined;
}
