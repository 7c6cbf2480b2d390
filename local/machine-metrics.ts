/**
 * Current metrics of this machine as rows with one value each: a new metric is a new row and not a new column.
 *
 * @module
 */
import { hostname, loadavg } from 'node:os';
import si from 'systeminformation';
import type { Readiness } from './api.ts';

export type Unit = 'percent' | 'bytes' | 'bytes/s' | 'processes' | 'ms' | 'bool';

export type MetricRow = {
  timestamp: string;
  host: string;
  /** The kind of resource that was measured. */
  source: 'cpu' | 'memory' | 'disk' | 'network' | 'engine';
  /** Which one: a mount point, an interface, an engine. */
  resource: string;
  metric: string;
  value: number;
  unit: Unit;
};

export const metricColumns = ['timestamp', 'host', 'source', 'resource', 'metric', 'value', 'unit'] as const;

type Reading = Omit<MetricRow, 'timestamp' | 'host'>;

/** Omits groups that cannot be read on this machine. Rates need an earlier collection, so the first one has none. */
export async function collectMachine(now: Date, engines: Readiness | undefined): Promise<MetricRow[]> {
  const groups = await Promise.all([cpu, memory, disk, network].map((read) => orNone(read())));
  const readings = [...groups.flat(), ...engineReadings(engines)];
  const common = { timestamp: now.toISOString(), host: hostname() };
  return readings.filter(({ value }) => Number.isFinite(value)).map((reading) => ({ ...common, ...reading }));
}

const readLimitMs = 3_000;

/** No readings when reading fails or takes too long. */
function orNone(reading: Promise<Reading[]>): Promise<Reading[]> {
  const { promise, resolve } = Promise.withResolvers<Reading[]>();
  const timer = setTimeout(() => resolve([]), readLimitMs);
  reading.then(resolve, () => resolve([])).finally(() => clearTimeout(timer));
  return promise;
}

async function cpu(): Promise<Reading[]> {
  const load = await si.currentLoad();
  const labels = { source: 'cpu', resource: 'all' } as const;
  return [
    { ...labels, metric: 'cpu.used', value: load.currentLoad, unit: 'percent' },
    { ...labels, metric: 'cpu.user', value: load.currentLoadUser, unit: 'percent' },
    { ...labels, metric: 'cpu.system', value: load.currentLoadSystem, unit: 'percent' },
    { ...labels, metric: 'cpu.load_1m', value: loadavg()[0] ?? Number.NaN, unit: 'processes' },
  ];
}

async function memory(): Promise<Reading[]> {
  const { total, available, swapused } = await si.mem();
  const labels = { source: 'memory', resource: 'ram' } as const;
  return [
    { ...labels, metric: 'memory.used', value: total - available, unit: 'bytes' },
    { ...labels, metric: 'memory.available', value: available, unit: 'bytes' },
    { ...labels, metric: 'memory.used_share', value: (100 * (total - available)) / total, unit: 'percent' },
    { ...labels, resource: 'swap', metric: 'memory.used', value: swapused, unit: 'bytes' },
  ];
}

async function disk(): Promise<Reading[]> {
  const [mounts, traffic] = await Promise.all([si.fsSize(), si.fsStats().catch(() => undefined)]);
  const sizes = mounts.flatMap(({ mount, used, available, use }): Reading[] => [
    { source: 'disk', resource: mount, metric: 'disk.used', value: used, unit: 'bytes' },
    { source: 'disk', resource: mount, metric: 'disk.available', value: available, unit: 'bytes' },
    { source: 'disk', resource: mount, metric: 'disk.used_share', value: use, unit: 'percent' },
  ]);
  return [
    ...sizes,
    { source: 'disk', resource: 'all', metric: 'disk.read', value: traffic?.rx_sec ?? Number.NaN, unit: 'bytes/s' },
    { source: 'disk', resource: 'all', metric: 'disk.written', value: traffic?.wx_sec ?? Number.NaN, unit: 'bytes/s' },
  ];
}

async function network(): Promise<Reading[]> {
  const interfaces = await si.networkStats('*');
  return interfaces.flatMap(({ iface, rx_bytes, tx_bytes, rx_sec, tx_sec }): Reading[] => {
    const labels = { source: 'network', resource: iface } as const;
    return [
      { ...labels, metric: 'network.received_total', value: rx_bytes, unit: 'bytes' },
      { ...labels, metric: 'network.sent_total', value: tx_bytes, unit: 'bytes' },
      { ...labels, metric: 'network.received', value: rx_sec ?? Number.NaN, unit: 'bytes/s' },
      { ...labels, metric: 'network.sent', value: tx_sec ?? Number.NaN, unit: 'bytes/s' },
    ];
  });
}

function engineReadings(engines: Readiness | undefined): Reading[] {
  return Object.entries(engines?.stores ?? {}).flatMap(([resource, { ok, latencyMs }]): Reading[] => {
    const labels = { source: 'engine', resource } as const;
    return [
      { ...labels, metric: 'engine.up', value: ok ? 1 : 0, unit: 'bool' },
      { ...labels, metric: 'engine.latency', value: latencyMs ?? Number.NaN, unit: 'ms' },
    ];
  });
}
