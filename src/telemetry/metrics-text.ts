import { describeError } from '../core/log.ts';
import { type MetricName, metrics } from '../core/metrics.ts';
import { fieldOf, readCounters } from '../stores/counters.ts';
import type { TelemetryDeps } from './deps.ts';
import { auditGauges, bufferGauges, catalogueGauges, memoryGauges, type Sample, storeGauges } from './gauges.ts';

/**
 * Everything there is to tell, in the text format of Prometheus, from state that all instances share. What a store that is
 * away would tell is left out, and `timestore_store_up` says which it is. Never rejects.
 */
export async function metricsText(ctx: TelemetryDeps): Promise<string> {
  // Of this instance, so that a scrape has what came before it.
  if (ctx.counters.isWorth) await ctx.counters.send(ctx);
  const parts = [bufferGauges(ctx), memoryGauges(ctx), auditGauges(ctx), catalogueGauges(ctx), storeGauges(ctx)];
  const [sums, ...gauges] = await Promise.all([
    readCounters(ctx).catch((error) => left(ctx, error, new Map<string, number>())),
    ...parts.map((part) => part.catch((error) => left(ctx, error, [] as Sample[]))),
  ]);
  const lines = new Map<MetricName, string[]>();
  const add = (name: MetricName, line: string) => {
    const known = lines.get(name);
    if (known === undefined) lines.set(name, [line]);
    else known.push(line);
  };
  for (const { name, labels, value } of gauges.flat()) add(name, `${fieldOf(name, labels)} ${text(value)}`);
  for (const [field, value] of withTotals(sums)) {
    const name = field.replace(/\{.*$/s, '').replace(/_(?:bucket|sum|count)$/, '') as MetricName;
    if (Object.hasOwn(metrics, name)) add(name, `${field} ${text(value)}`);
  }
  return (Object.keys(metrics) as MetricName[])
    .map((name) => {
      const { type, help } = metrics[name];
      const samples = (lines.get(name) ?? []).map((line) => `${line}\n`).join('');
      return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${samples}`;
    })
    .join('');
}

function left<Nothing>(ctx: TelemetryDeps, error: unknown, nothing: Nothing): Nothing {
  ctx.log({ event: 'metrics-incomplete', ...describeError(error) });
  return nothing;
}

function text(value: number): string {
  return value === Number.POSITIVE_INFINITY ? '+Inf' : String(value);
}

const bucketForm = /^(.*)_bucket\{(.*?,?)le="([^"]*)"\}$/s;

/** Histograms are kept by the one bucket that each value is in, and told by how many are in it or below. */
function withTotals(sums: Map<string, number>): [string, number][] {
  const told: [string, number][] = [];
  const counts = new Map<string, Map<string, number>>();
  for (const [field, value] of [...sums].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const [, name, labels = '', le] = bucketForm.exec(field) ?? [];
    if (name === undefined || le === undefined) {
      told.push([field, value]);
      continue;
    }
    const of = counts.get(`${name} ${labels}`) ?? new Map<string, number>();
    counts.set(`${name} ${labels}`, of.set(le, value));
  }
  for (const [key, of] of counts) {
    const [name = '', ...rest] = key.split(' ');
    const labels = rest.join(' ');
    const metric = metrics[name as MetricName];
    const buckets = metric !== undefined && 'buckets' in metric ? metric.buckets : [];
    let sum = 0;
    for (const le of [...buckets.map(String), '+Inf']) {
      sum += of.get(le) ?? 0;
      told.push([`${name}_bucket{${labels}le="${le}"}`, sum]);
    }
    const all = labels === '' ? '' : `{${labels.replace(/,$/, '')}}`;
    told.push([`${name}_count${all}`, sum]);
  }
  return told;
}
