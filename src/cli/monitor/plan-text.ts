import { visible } from '../table-text.ts';

export type PlannedChange = {
  action: 'create' | 'change' | 'remove';
  kind: string;
  id: string;
  members: { member: string; before?: unknown; after?: unknown; isSecret?: true }[];
};

const signs = { create: '+', change: '~', remove: '-' } as const;
const width_max = 60;

/** A plan, a line for each resource and each changed member. */
export function planText(changes: PlannedChange[], unchanged: number): string {
  const lines = changes.flatMap(({ action, kind, id, members }) => [
    `${signs[action]} ${kind} ${id}`,
    ...members.map(({ member, before, after, isSecret }) => {
      return `    ${member}: ${isSecret ? 'another secret value' : `${valueText(before)} → ${valueText(after)}`}`;
    }),
  ]);
  const count = (action: PlannedChange['action']) => changes.filter((each) => each.action === action).length;
  const sums = `${count('create')} to create, ${count('change')} to change, ${count('remove')} to remove`;
  return [...lines, `${sums}, ${unchanged} unchanged`].map((line) => `${line}\n`).join('');
}

function valueText(value: unknown): string {
  if (value === undefined) return '(none)';
  const text = visible(typeof value === 'string' ? value : JSON.stringify(value));
  return text.length > width_max ? `${text.slice(0, width_max - 1)}…` : text;
}
