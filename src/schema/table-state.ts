import { ApiError } from '../core/errors.ts';

/**
 * What may be done with a dataset or a table. `frozen`: it takes no rows. `archived`: and is left out of lists.
 * `deleting`: it is gone for readers, and for good at a time that is on record; until then it can be taken back.
 */
export const states = ['active', 'frozen', 'archived', 'deleting'] as const;

export type State = (typeof states)[number];

/** A table's own state, or its dataset's where that is stricter; in SQL, of tables `t` and datasets `d`. */
export const effectiveState = `case
  when 'deleting' in (t.state, d.state) then 'deleting'
  when 'archived' in (t.state, d.state) then 'archived'
  when 'frozen' in (t.state, d.state) then 'frozen' else 'active' end`;

/** A table's own retention, null among them, or its dataset's; likewise. */
export const effectiveRetention = `case when t.definition ? 'retention' then t.definition->'retention' else d.retention end`;

/** Says why a table, or all of a dataset, takes no rows. */
export function notWritable(dataset: string, name: string | undefined, state: State): ApiError {
  const what = name === undefined ? `dataset ${dataset}` : `table ${name} of dataset ${dataset}`;
  const whys: Partial<Record<State, string>> = {
    archived: 'it is archived. Set its state to active first.',
    deleting: 'it is being deleted. Set its state to active first, or wait until it is gone.',
  };
  const detail = `Writes to ${what} are stopped${whys[state] === undefined ? ' for a cutover.' : `: ${whys[state]}`}`;
  return new ApiError('dataset-frozen', detail, { extra: { state }, retryAfterMs: 5_000 });
}
