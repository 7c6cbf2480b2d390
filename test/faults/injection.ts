import { StoreError } from '../../src/core/errors.ts';
import type { Context } from '../../src/create-context.ts';
import type { Cluster, Server } from '../../src/stores/clickhouse/servers.ts';

/**
 * Faults of a call to a store. `dies`: the function ends there and makes no further call. `lost`: the call has its effect,
 * and its answer does not arrive. `late`: the answer does not arrive, and the effect comes long after.
 */
export const faultKinds = ['dies before', 'dies after', 'fails', 'answer lost', 'effect late'] as const;
export type FaultKind = (typeof faultKinds)[number];

export type Fault = { call: number; kind: FaultKind };

export type Injected<C extends Context & Server> = C & {
  /** The calls made so far, in order, as `store.method`. */
  calls: string[];
  /** Resolves when the function has died. The call that it waited for never settles, so the function catches no error. */
  died: Promise<void>;
  /** Lets what is late have its effect. */
  releaseLate(): Promise<void>;
  /** Discards the late effects at a store, as if its server had gone. */
  forgetLate(store: keyof typeof methods): void;
};

const methods = {
  redis: ['evalsha', 'evalshaWithBody', 'eval', 'get', 'mget', 'hget', 'xrange', 'xdel', 'zrem', 'inTurn'],
  clickhouse: ['send', 'command', 'rows'],
  postgres: ['rows', 'transaction'],
  objects: ['put', 'get', 'find', 'list', 'remove'],
} as const;

/** An instance whose n-th call to a store (from 0) goes wrong. Without a fault it only counts. */
export function inject<C extends Context & Server>(instance: C, fault?: Fault): Injected<C> {
  const calls: string[] = [];
  let late: { name: string; perform: () => Promise<unknown> }[] = [];
  const death = Promise.withResolvers<void>();
  const never = new Promise<never>(() => undefined);
  let isDead = false;
  const die = () => {
    isDead = true;
    death.resolve();
    return never;
  };

  async function call(name: string, perform: () => Promise<unknown>): Promise<unknown> {
    if (isDead) return await never;
    const index = calls.push(name) - 1;
    if (fault === undefined || index !== fault.call) return await perform();
    const noAnswer = () => new StoreError('redis', 'did not answer', new Error(`injected at ${name}`));
    switch (fault.kind) {
      case 'dies before':
        return await die();
      case 'dies after':
        await perform();
        return await die();
      case 'fails':
        throw noAnswer();
      case 'answer lost':
        await perform();
        throw noAnswer();
      case 'effect late':
        late.push({ name, perform });
        throw noAnswer();
    }
  }

  function through<Client extends object>(store: keyof typeof methods, client: Client): Client {
    return new Proxy(client, {
      get(target, property) {
        const value = Reflect.get(target, property) as unknown;
        if (typeof value !== 'function') return value;
        const bound = value.bind(target) as (...args: unknown[]) => Promise<unknown>;
        if (!(methods[store] as readonly string[]).includes(String(property))) return bound;
        return (...args: unknown[]) => call(`${store}.${String(property)}`, () => bound(...args));
      },
    });
  }

  const shards = ({ shards: all, ...cluster }: Cluster): Cluster => ({
    ...cluster,
    shards: all.map((shard) => ({
      ...shard,
      clickhouse: through('clickhouse', shard.clickhouse),
      nodes: shard.nodes.map((node) => ({ ...node, clickhouse: through('clickhouse', node.clickhouse) })),
    })),
  });

  return {
    ...instance,
    ...(instance.cluster && { cluster: shards(instance.cluster) }),
    redis: through('redis', instance.redis),
    clickhouse: through('clickhouse', instance.clickhouse),
    postgres: through('postgres', instance.postgres),
    objects: through('objects', instance.objects),
    calls,
    died: death.promise,
    async releaseLate() {
      // The store may refuse a late effect.
      for (const { perform } of late.splice(0)) await perform().catch(() => undefined);
    },
    forgetLate(store) {
      late = late.filter(({ name }) => !name.startsWith(`${store}.`));
    },
  };
}
