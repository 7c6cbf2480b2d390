import { type Answer, adminKey, dataset, describeAnswer, type QueryAnswer, type TimeRange, table } from './api.ts';
import { type MetricRow, metricColumns } from './machine-metrics.ts';
import { seconds } from './progress.ts';
import type { Stack } from './stack.ts';

export const freshnessHeaders = [
  'x-timestore-freshness-mode',
  'x-timestore-replica-age-ms',
  'x-timestore-watermark',
] as const;

const rowsShown_max = 5;

/** A query result as text: freshness headers, counts and the first rows. */
export function showAnswer(answer: Answer<QueryAnswer<MetricRow>>): string {
  const { headers, body } = answer;
  if (answer.status !== 200) return `  ${describeAnswer(answer)}`;
  const { rows, sources } = body;
  return [
    ...freshnessHeaders.map((name) => `  ${name}: ${headers.get(name) ?? '(absent)'}`),
    `  ${rows.length} rows; ClickHouse ${sources?.published?.rows}, hot buffer ${sources?.hotBuffer?.rows}`,
    ...asTable(rows.slice(0, rowsShown_max)).map((line) => `  ${line}`),
    ...(rows.length > rowsShown_max ? [`  … and ${rows.length - rowsShown_max} more`] : []),
  ].join('\n');
}

export function showAddresses(url: string, stack: Stack): string {
  const engines = Object.entries(stack.urls).map(([name, address]) => [name, address] as const);
  const lines = [['Timestore', url], ['key', adminKey], ['docs', `${url}/docs`], ...engines] as const;
  return lines.map(([name, value]) => `  ${name.padEnd(12)}${value}`).join('\n');
}

export function showCurl(url: string, timeRange: TimeRange): string {
  const body = JSON.stringify({ tableName: table, timeRange, columns: metricColumns, limit: 20 });
  return [
    `curl -si ${url}/v1/datasets/${dataset}/query`,
    `-H 'authorization: Bearer ${adminKey}' -H 'content-type: application/json'`,
    `-d '${body}'`,
  ].join(' ');
}

export function showPhases(phases: Map<string, number>): string {
  const lines = [...phases].map(([name, ms]) => `  ${name.padEnd(9)}${seconds(ms).padStart(8)}`);
  return ['Phases', ...lines].join('\n');
}

export function showRecord(record: Record<string, unknown>): string {
  const width = Math.max(...Object.keys(record).map((name) => name.length)) + 2;
  return Object.entries(record)
    .map(
      ([name, value]) => `  ${name.padEnd(width)}${value instanceof Date ? value.toISOString() : formatValue(value)}`,
    )
    .join('\n');
}

function asTable(rows: MetricRow[]): string[] {
  const cells = [[...metricColumns], ...rows.map((row) => metricColumns.map((name) => formatValue(row[name])))];
  const widths = metricColumns.map((_, index) => Math.max(...cells.map((line) => line[index]?.length ?? 0)));
  return cells.map((line) =>
    line
      .map((cell, index) => cell.padEnd(widths[index] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

const formatValue = (value: unknown): string => (typeof value === 'string' ? value : (JSON.stringify(value) ?? ''));
