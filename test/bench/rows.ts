/** Rows as a fleet of sensors sends them, about 130 bytes each. */
export const fieldNames = ['timestamp', 'device', 'region', 'celsius', 'humidity', 'n', 'ok'] as const;

const regions = ['north', 'east', 'south', 'west'];

export function rowOf(n: number): Record<(typeof fieldNames)[number], unknown> {
  return {
    // Within two days, so that a batch touches few partitions.
    timestamp: new Date(Date.UTC(2026, 4, 1) + (n % 100_000_000)).toISOString(),
    device: `device-${(n * 7) % 1_000}`,
    region: regions[n % regions.length],
    celsius: 15 + ((n * 31) % 2_000) / 100,
    humidity: ((n * 17) % 1_000) / 10,
    n,
    ok: n % 10 !== 0,
  };
}

/** Bodies of so many rows each, none like another. */
export function bodies(rows: number, count: number): string[] {
  return Array.from({ length: count }, (_, b) => {
    return JSON.stringify(Array.from({ length: rows }, (_, i) => rowOf(b * rows + i)));
  });
}
