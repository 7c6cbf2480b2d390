/** Rows of each lane up to a sequence. */
export type Until = { lane: number; seq: number }[];

/** The condition that holds for these rows and no others. */
export function untilSql(until: Until): string {
  return `(${until.map(({ lane, seq }) => `(_lane = ${Number(lane)} AND _seq <= ${Number(seq)})`).join(' OR ')})`;
}
