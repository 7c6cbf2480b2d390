import { describeError } from '../core/log.ts';
import { type MetricName, metrics } from '../core/metrics.ts';
import { formatSeries, readCounters } from '../stores/counters.ts';
import type { TelemetryDeps } from './deps.ts';
import { auditGauges, bufferGauges, catalogueGauges, memoryGauges, type Sample, storeGauges } from './gauges.ts';

/**
 * All metrics in the text format of Prometheus, from state that all instances share. Metrics of an unavailable store are
 * omitted; `timestore_store_up` reports that store. Never rejects.
 */
export async function metricsText(ctx: TelemetryDeps): Promise<string> {
  // Counters of this instance are sent first, so that the scrape includes them.
  if (ctx.counters.isWorth) await ctx.counters.send(ctx);
  const parts = [bufferGauges(ctx), memoryGauges(ctx), auditGauges(ctx), catalogueGauges(ctx), storeGauges(ctx)];
  const [sums, ...gauges] = await Promise.all([
    readCounters(ctx).catch((error) => logAndReturn(ctx, error, new Map<string, number>())),
    ...parts.map((part) => part.catch((error) => logAndReturn(ctx, error, [] as Sample[]))),
  ]);
  const lines = new Map<MetricName, string[]>();
  const add = (name: MetricName, line: string) => {
    const present = lines.get(name);
    if (present === undefined) lines.set(name, [line]);
    else present.push(line);
  };
  for (const { name, labels, value } of gauges.flat()) add(name, `${formatSeries(name, labels)} ${formatValue(value)}`);
  for (const [field, value] of cumulateBuckets(sums)) {
    const name = field.replace(/\{.*$/s, '').replace(/_(?:bucket|sum|count)$/, '') as MetricName;
    if (Object.hasOwn(metrics, name)) add(name, `${field} ${formatValue(value)}`);
  }
  return (Object.keys(metrics) as MetricName[])
    .map((name) => {
      const { type, help } = metrics[name];
      const samples = (lines.get(name) ?? []).map((line) => `${line}\n`).join('');
      return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${samples}`;
    })
    .join('');
}

function logAndReturn<Empty>(ctx: TelemetryDeps, error: unknown, empty: Empty): Empty {
  ctx.log({ event: 'metrics-incomplete', ...describeError(error) });
  return empty;
}

function formatValue(value: number): string {
  return value === Number.POSITIVE_INFINITY ? '+Inf' : String(value);
}

const bucketPattern = /^(.*)_bucket\{(.*?,?)le="([^"]*)"\}$/s;

/** Stored buckets count the values in one bucket; Prometheus needs cumulative buckets. */
function cumulateBuckets(sums: Map<string, number>): [string, number][] {
  const lines: [string, number][] = [];
  const counts = new Map<string, Map<string, number>>();
  for (const [field, value] of [...sums].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const [, name, labels = '', le] = bucketPattern.exec(field) ?? [];
    if (name === undefined || le === undefined) {
      lines.push([field, value]);
      continue;
    }
    const buckets = counts.get(`${name} ${labels}`) ?? new Map<string, number>();
    counts.set(`${name} ${labels}`, buckets.set(le, value));
  }
  for (const [key, bucketCounts] of counts) {
    const [name = '', ...rest] = key.split(' ');
    const labels = rest.join(' ');
    const metric = metrics[name as MetricName];
    const buckets = metric !== undefined && 'buckets' in metric ? metric.buckets : [];
    let sum = 0;
    for (const le of [...buckets.map(String), '+Inf']) {
      sum += bucketCounts.get(le) ?? 0;
      lines.push([`${name}_bucket{${labels}le="${le}"}`, sum]);
    }
    const all = labels === '' ? '' : `{${labels.replace(/,$/, '')}}`;
    lines.push([`${name}_count${all}`, sum]);
  }
  return lines;
}
