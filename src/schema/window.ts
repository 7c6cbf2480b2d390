/** How a table is cut into ClickHouse partitions: by the hour, day or month (UTC) of its timestamp. */
export type PartitionWindow = 'hour' | 'day' | 'month';

/** The window a time lies in, as a number that is the same for two times exactly when their partition is. */
export function windowOf(window: PartitionWindow, time_ms: number): number {
  switch (window) {
    case 'hour':
      return Math.floor(time_ms / 3_600_000);
    case 'day':
      return Math.floor(time_ms / 86_400_000);
    case 'month': {
      const date = new Date(time_ms);
      return date.getUTCFullYear() * 12 + date.getUTCMonth();
    }
  }
}
