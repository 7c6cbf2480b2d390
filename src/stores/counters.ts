import { describeError } from '../core/log.ts';
import { type CounterName, type HistogramName, metrics } from '../core/metrics.ts';
import addCountersLua from './add-counters.lua';
import type { RedisDeps } from './deps.ts';
import { ask, runScript } from './redis/client.ts';
import { inOrder, script } from './redis/script.ts';

const addScript = script(addCountersLua);

type Labels = Record<string, string>;

const busy_ms = 10_000;
const quiet_ms = 60_000;
/** Sums per request and reply: a name with labels has some hundred characters. */
const sumsAtOnce = 5_000;
/** How long Redis remembers a part, so that a retry does not add it twice. Longer than any outage of Redis. */
const part_ms = 3_600_000;
/** About twenty requests. */
const busy_worth = 50;

type Part = { id: string; sums: [field: string, n: number][] };

/** Counts of this instance that are not in the sums of the hot buffer yet. If the instance ends, some seconds of counts are lost. */
export class Counters {
  #sums = new Map<string, number>();
  /** Unacknowledged parts. A retry sends them unchanged, with the same id. */
  #parts: Part[] = [];
  /** Events since the last send that justify a command. */
  #worth = 0;
  #sentAt_ms = Date.now();

  add(name: CounterName, labels: Labels, n = 1): void {
    if (n === 0) return;
    this.#add(formatSeries(name, labels), n);
    this.#worth += 1;
  }

  /** @param isWorth false for events of an idle deployment too, which do not justify a command */
  observe(name: HistogramName, labels: Labels, value: number, isWorth = true): void {
    const { buckets } = metrics[name];
    const le = buckets.find((most) => value <= most) ?? '+Inf';
    this.#add(formatSeries(`${name}_bucket`, { ...labels, le: String(le) }), 1);
    this.#add(formatSeries(`${name}_sum`, labels), Math.round(value));
    if (isWorth) this.#worth += 1;
  }

  #add(field: string, n: number): void {
    this.#sums.set(field, (this.#sums.get(field) ?? 0) + n);
  }

  /** Whether there is anything to send. */
  get isWorth(): boolean {
    return this.#worth > 0;
  }

  /** Whether to send now. Each send is a command, so quiet deployments send rarely. */
  isDue(now_ms: number): boolean {
    const age_ms = now_ms - this.#sentAt_ms;
    return age_ms >= (this.#worth >= busy_worth ? busy_ms : quiet_ms) && this.isWorth;
  }

  /** Adds to the sums of all instances. Never rejects: unsent counts go with the next send. */
  async send(ctx: RedisDeps): Promise<void> {
    const worth = this.#worth;
    this.#worth = 0;
    this.#sentAt_ms = ctx.now();
    try {
      // Unacknowledged parts first, then new counts.
      for (let round = 0; round < 2; round += 1) await this.#sendParts(ctx);
    } catch (error) {
      this.#worth += worth;
      ctx.log({ event: 'counters-unsent', ...describeError(error) });
    }
  }

  async #sendParts(ctx: RedisDeps): Promise<void> {
    // A concurrent call has its own parts.
    const parts = this.#parts.length > 0 ? this.#parts : this.#cut();
    this.#parts = [];
    try {
      for (let part = parts[0]; part !== undefined; part = parts[0]) {
        const list = JSON.stringify(
          inOrder<string | number>(addScript.header, { kept_ms: part_ms, counts: part.sums.flat() }),
        );
        await runScript(
          ctx.redis,
          addScript,
          { sums: ctx.keys.metrics, part: ctx.keys.metricsPart(part.id) },
          { list },
        );
        parts.shift();
      }
    } finally {
      this.#parts.unshift(...parts);
    }
  }

  #cut(): Part[] {
    const sums = [...this.#sums];
    this.#sums = new Map();
    const count = Math.ceil(sums.length / sumsAtOnce);
    return Array.from({ length: count }, (_, n) => {
      return { id: crypto.randomUUID(), sums: sums.slice(n * sumsAtOnce, (n + 1) * sumsAtOnce) };
    });
  }
}

/** The sums of all instances, by name and labels in the Prometheus format. Throws StoreError. */
export async function readCounters(ctx: RedisDeps): Promise<Map<string, number>> {
  const sums = new Map<string, number>();
  let cursor = '0';
  do {
    const from = cursor;
    // All sums do not fit into one reply. Deserialisation is off, so names and values alternate.
    const [next, list] = await ask(() => ctx.redis.hscan(ctx.keys.metrics, from, { count: sumsAtOnce }));
    for (let i = 0; i < list.length; i += 2) sums.set(String(list[i]), Number(list[i + 1]));
    cursor = String(next);
  } while (cursor !== '0');
  return sums;
}

/** A name and its labels in the Prometheus format. */
export function formatSeries(name: string, labels: Labels): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${escaped(value)}"`);
  return pairs.length === 0 ? name : `${name}{${pairs.join(',')}}`;
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
