import { parseCondition } from '../alerts/condition.ts';
import type { Definitions, Kind } from '../resources/kinds.ts';

/** `path`: member names and indices, joined with dots. */
export type Problem = { path: string; message: string };

/** Problems of the texts of a definition that have a grammar of their own. */
export function textProblems(kind: Kind, definition: unknown): Problem[] {
  if (kind !== 'rule') return [];
  const parsed = parseCondition((definition as Definitions['rule']).condition);
  return 'problem' in parsed ? [{ path: 'condition', message: parsed.problem }] : [];
}
