import { setTimeout as delay } from 'node:timers/promises';
import { ApiError } from './errors.ts';

type Reservation = { bytes: number; until_ms: number };

/** Polling, because a request in Workers cannot await a promise of another request. */
const poll_ms = 20;
/** A request killed by the platform never releases its reservation, so each one expires. */
const reservation_ms_max = 120_000;
const flush_bytes_min = 1024 * 1024;

/**
 * Shares the memory of an instance among its concurrent requests and flushes. A body waits for free memory before it is
 * read. A flush never waits: it takes a smaller seal.
 */
export class MemoryBudget {
  readonly #bytesMax: number;
  readonly #bodyWait_ms: number;
  readonly #bodies = new Set<Reservation>();
  readonly #flushes = new Set<Reservation>();

  constructor(bytesMax: number, bodyWait_ms = 10_000) {
    this.#bytesMax = bytesMax;
    this.#bodyWait_ms = bodyWait_ms;
  }

  /**
   * Reserves memory for a body. Call the returned function to release it.
   *
   * @throws ApiError `unavailable` if no memory became free in time
   */
  async reserveBody(bytes: number): Promise<() => void> {
    const from_ms = Date.now();
    for (;;) {
      const now_ms = Date.now();
      const reserved = sumReservations(this.#bodies, now_ms);
      if (reserved === 0 || reserved + bytes <= this.#bytesMax) {
        const reservation = { bytes, until_ms: now_ms + reservation_ms_max };
        this.#bodies.add(reservation);
        return () => void this.#bodies.delete(reservation);
      }
      if (now_ms - from_ms >= this.#bodyWait_ms) {
        throw new ApiError(
          'unavailable',
          `No memory is free for a body of ${bytes} bytes (limit instance_bytes_max). The body was not read. Send it again, or ` +
            'split it into smaller ones.',
          { retryAfterMs: 1_000 },
        );
      }
      await delay(poll_ms);
    }
  }

  /**
   * Reserves memory for a seal of up to `wanted_bytes`, or for a smaller one while little is free: `bytesMax` is the reserved
   * size. Report the actual size with `holds`: a seal taken over from another flush has its own size.
   */
  reserveFlush(wanted_bytes: number): { bytesMax: number; holds(bytes: number): void; release(): void } {
    const now_ms = Date.now();
    const free_bytes = this.#bytesMax - sumReservations(this.#bodies, now_ms) - sumReservations(this.#flushes, now_ms);
    const reservation = {
      bytes: Math.min(wanted_bytes, Math.max(free_bytes, flush_bytes_min)),
      until_ms: now_ms + reservation_ms_max,
    };
    this.#flushes.add(reservation);
    return {
      bytesMax: reservation.bytes,
      holds: (bytes) => {
        reservation.bytes = bytes;
      },
      release: () => void this.#flushes.delete(reservation),
    };
  }
}

function sumReservations(reservations: Set<Reservation>, now_ms: number): number {
  let sum = 0;
  for (const reservation of reservations) {
    if (reservation.until_ms < now_ms) reservations.delete(reservation);
    else sum += reservation.bytes;
  }
  return sum;
}
