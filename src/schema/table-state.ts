import { ApiError } from '../core/errors.ts';

/**
 * The state of a dataset or a table. `frozen`: accepts no rows. `archived`: frozen, and not in lists by default. `deleting`:
 * hidden from readers, and dropped at a recorded time; until then the deletion can be cancelled.
 */
export const states = ['active', 'frozen', 'archived', 'deleting'] as const;

export type State = (typeof states)[number];

/** SQL for the stricter state of a table `t` and its dataset `d`. */
export const effectiveState = `case
  when 'deleting' in (t.state, d.state) then 'deleting'
  when 'archived' in (t.state, d.state) then 'archived'
  when 'frozen' in (t.state, d.state) then 'frozen' else 'active' end`;

/** SQL for the retention of a table `t`, which may be null, or else of its dataset `d`. */
export const effectiveRetention = `case when t.definition ? 'retention' then t.definition->'retention' else d.retention end`;

/** The error for writes to a table or a dataset that accepts no rows. */
export function notWritable(dataset: string, name: string | undefined, state: State): ApiError {
  const target = name === undefined ? `dataset ${dataset}` : `table ${name} of dataset ${dataset}`;
  const whys: Partial<Record<State, string>> = {
    archived: 'it is archived. Set its state to active first.',
    deleting: 'it is being deleted. Set its state to active first, or wait until it is dropped.',
  };
  const detail = `Writes to ${target} are stopped${whys[state] === undefined ? ' for a cutover.' : `: ${whys[state]}`}`;
  return new ApiError('dataset-frozen', detail, { extra: { state }, retryAfterMs: 5_000 });
}
