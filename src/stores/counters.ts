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
/** In a request and a reply: a name and its labels have some hundred characters. */
const sumsAtOnce = 5_000;
/** For how long a part that may have been added is not added again. Longer than the hot buffer is ever unavailable. */
const part_ms = 3_600_000;
/** Some twenty requests. */
const busy_worth = 50;

type Part = { id: string; sums: [field: string, n: number][] };

/** What has happened on this instance and is not in the hot buffer's sums yet. Lost with the instance: seconds of it. */
export class Counters {
  #sums = new Map<string, number>();
  /** What was being sent when an answer did not come: it goes again as it was, under the same id. */
  #parts: Part[] = [];
  /** What happened since it was sent that is worth a command of its own. */
  #worth = 0;
  #sentAt_ms = Date.now();

  add(name: CounterName, labels: Labels, n = 1): void {
    if (n === 0) return;
    this.#add(fieldOf(name, labels), n);
    this.#worth += 1;
  }

  /** @param isWorth false for what happens on an idle deployment too: it goes along with other things */
  observe(name: HistogramName, labels: Labels, value: number, isWorth = true): void {
    const { buckets } = metrics[name];
    const le = buckets.find((most) => value <= most) ?? '+Inf';
    this.#add(fieldOf(`${name}_bucket`, { ...labels, le: String(le) }), 1);
    this.#add(fieldOf(`${name}_sum`, labels), Math.round(value));
    if (isWorth) this.#worth += 1;
  }

  #add(field: string, n: number): void {
    this.#sums.set(field, (this.#sums.get(field) ?? 0) + n);
  }

  /** Whether there is anything to send. */
  get isWorth(): boolean {
    return this.#worth > 0;
  }

  /** Whether it is time to add to the shared sums. Each time is a command: seldom where little happens. */
  isDue(now_ms: number): boolean {
    const age_ms = now_ms - this.#sentAt_ms;
    return age_ms >= (this.#worth >= busy_worth ? busy_ms : quiet_ms) && this.isWorth;
  }

  /** Adds to the sums that all instances share. Never rejects: what could not be sent goes along the next time. */
  async send(ctx: RedisDeps): Promise<void> {
    const worth = this.#worth;
    this.#worth = 0;
    this.#sentAt_ms = ctx.now();
    try {
      // What was tried before goes first, and what has come since behind it.
      for (let round = 0; round < 2; round += 1) await this.#sendParts(ctx);
    } catch (error) {
      this.#worth += worth;
      ctx.log({ event: 'counters-unsent', ...describeError(error) });
    }
  }

  async #sendParts(ctx: RedisDeps): Promise<void> {
    // Another call may send meanwhile: each has its own parts.
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

/** The sums that all instances share, by name and labels as they are told. Throws StoreError. */
export async function readCounters(ctx: RedisDeps): Promise<Map<string, number>> {
  const sums = new Map<string, number>();
  let cursor = '0';
  do {
    const from = cursor;
    // All of them would be more than one reply may have. Without the client's own reading, it is names and values in turn.
    const [next, list] = await ask(() => ctx.redis.hscan(ctx.keys.metrics, from, { count: sumsAtOnce }));
    for (let i = 0; i < list.length; i += 2) sums.set(String(list[i]), Number(list[i + 1]));
    cursor = String(next);
  } while (cursor !== '0');
  return sums;
}

/** A name and its labels in the form of Prometheus. */
export function fieldOf(name: string, labels: Labels): string {
  const told = Object.entries(labels).map(([label, value]) => `${label}="${escaped(value)}"`);
  return told.length === 0 ? name : `${name}{${told.join(',')}}`;
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
