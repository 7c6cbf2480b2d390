import { setTimeout as delay } from 'node:timers/promises';
import { ApiError } from './errors.ts';

type Claim = { bytes: number; until_ms: number };

const poll_ms = 20;
/** A request that the platform takes away never gives its room back. */
const longest_ms = 120_000;
const flush_bytes_min = 1024 * 1024;

/**
 * Shares the memory of an instance among what it does at the same moment. A body waits for others that leave no room for
 * it, before any of it is read; a flush never waits: it begins with what there is room for.
 */
export class MemoryBudget {
  readonly #bytesMax: number;
  readonly #bodyWait_ms: number;
  readonly #bodies = new Set<Claim>();
  readonly #flushes = new Set<Claim>();

  constructor(bytesMax: number, bodyWait_ms = 10_000) {
    this.#bytesMax = bytesMax;
    this.#bodyWait_ms = bodyWait_ms;
  }

  /**
   * Room for a body, until what is answered is called.
   *
   * @throws TimestoreError `unavailable` when the others took too long
   */
  async reserveBody(bytes: number): Promise<() => void> {
    const from_ms = Date.now();
    for (;;) {
      const now_ms = Date.now();
      const taken = sumOf(this.#bodies, now_ms);
      if (taken === 0 || taken + bytes <= this.#bytesMax) {
        const claim = { bytes, until_ms: now_ms + longest_ms };
        this.#bodies.add(claim);
        return () => void this.#bodies.delete(claim);
      }
      if (now_ms - from_ms >= this.#bodyWait_ms) {
        throw new ApiError(
          'unavailable',
          `Other requests leave no room for a body of ${bytes} bytes (limit instance_bytes_max). Nothing of it was read; send ` +
            'it again, or in several smaller ones.',
          { retryAfterMs: 1_000 },
        );
      }
      await delay(poll_ms);
    }
  }

  /**
   * Room for a seal of up to so many bytes, or for less while others are being moved: `bytesMax` says for how much. What it then
   * holds may be less, or more: a seal that is taken over is as large as it is.
   */
  reserveFlush(bytesMost: number): { bytesMax: number; holds(bytes: number): void; release(): void } {
    const now_ms = Date.now();
    const left = this.#bytesMax - sumOf(this.#bodies, now_ms) - sumOf(this.#flushes, now_ms);
    const claim = { bytes: Math.min(bytesMost, Math.max(left, flush_bytes_min)), until_ms: now_ms + longest_ms };
    this.#flushes.add(claim);
    return {
      bytesMax: claim.bytes,
      holds: (bytes) => {
        claim.bytes = bytes;
      },
      release: () => void this.#flushes.delete(claim),
    };
  }
}

function sumOf(claims: Set<Claim>, now_ms: number): number {
  let sum = 0;
  for (const claim of claims) {
    if (claim.until_ms < now_ms) claims.delete(claim);
    else sum += claim.bytes;
  }
  return sum;
}
