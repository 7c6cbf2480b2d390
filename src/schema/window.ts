/** The partitioning of a table: by hour, day or month (UTC) of its timestamp. */
export type PartitionWindow = 'hour' | 'day' | 'month';

/** The window of a time, as a number: two times have the same number exactly if they have the same partition. */
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
