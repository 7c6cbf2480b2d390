/** A ratio or a figure of one line of the benchmark, as a median over rounds. */
export type Figure = {
  line: number;
  name: string;
  /** Median, least and most of the rounds. */
  value: number;
  min: number;
  max: number;
  unit: 'x' | 'ms' | 'rows/s' | 'bytes/s' | 'MiB' | 'KiB' | 'µs' | 'commands' | 'requests' | 'count';
  goal?: Goal;
  /** What it is made of. */
  detail?: string;
};

export type Goal = { least: number } | { most: number };

export function figure(
  line: number,
  name: string,
  unit: Figure['unit'],
  rounds: number[],
  more: { goal?: Goal; detail?: string } = {},
): Figure {
  const sorted = [...rounds].sort((a, b) => a - b);
  const [min = Number.NaN, max = Number.NaN] = [sorted[0], sorted.at(-1)];
  return { line, name, unit, value: median(sorted), min, max, ...more };
}

export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const [low = Number.NaN, high = Number.NaN] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]];
  return (low + high) / 2;
}

export function isReached({ value, goal }: Figure): boolean {
  if (goal === undefined) return true;
  return 'least' in goal ? value >= goal.least : value <= goal.most;
}

/** Whether a figure is a count, which is the same on any machine. Speeds and their ratios depend on what else the machine does. */
export function isCount({ unit }: Figure): boolean {
  return unit === 'commands' || unit === 'count';
}

export function showFigures(figures: Figure[]): string {
  const rows = figures.map((each) => {
    const { line, name, goal, detail = '' } = each;
    const spread = each.min === each.max ? '' : `${shown(each.min)} … ${shown(each.max)}`;
    const told = goal === undefined ? '' : 'least' in goal ? `≥ ${shown(goal.least)}` : `≤ ${shown(goal.most)}`;
    const mark = goal === undefined ? '' : isReached(each) ? 'yes' : 'no';
    return [
      String(line),
      name,
      `${shown(each.value)} ${each.unit === 'x' ? '×' : each.unit}`,
      spread,
      told,
      mark,
      detail,
    ];
  });
  const head = ['line', 'what', 'median', 'spread', 'goal', 'reached', 'made of'];
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

export function shown(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (Math.abs(value) >= 1_000) return Math.round(value).toLocaleString('en');
  if (Math.abs(value) >= 10) return value.toFixed(1);
  return value.toFixed(value === 0 ? 0 : 2);
}
