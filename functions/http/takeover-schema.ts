import * as z from 'zod';
import { readModes, type Takeover } from '../../src/catalog/read-routing.ts';
import type { Config } from '../../src/core/config.ts';
import { ApiError } from '../../src/core/errors.ts';
import type { MirrorState } from '../../src/operations/takeover/mirror-state.ts';

export const takeoverSchema = z.strictObject({
  reads: z.enum(readModes).meta({
    description:
      'who answers queries: `off`: the system that the dataset is taken over from; `compare`: that one, and its answers ' +
      'are compared with those given here; `on`: this deployment. A change holds everywhere within 10 s',
  }),
  mirror: z.boolean().meta({ description: 'whether rows accepted from then on are sent to that system' }),
});

export const withMirrorSchema = takeoverSchema.extend({
  mirrored: z
    .object({
      behindRows: z.int().meta({ description: 'accepted rows that it has not, buffered ones among them' }),
      oldestAgeMs: z.int().nullable().meta({ description: 'how long ago the oldest of them was accepted' }),
      stoppedLanes: z.int().meta({ description: 'lanes of which it has refused rows: their job waits for a retry' }),
      error: z.string().nullable().meta({ description: 'why it did not take what was sent last' }),
    })
    .nullable()
    .meta({ description: 'how far the mirror is; null without one' }),
});

/** Throws TimestoreError `invalid-request` for what needs another system, where the deployment knows none. */
export function requireSource(migration: Takeover | null | undefined, config: Config): void {
  const isNeeded = migration?.mirror || (migration?.reads ?? 'on') !== 'on';
  if (!isNeeded || config.TIMESTORE_ORIGIN_URL !== undefined) return;
  throw new ApiError(
    'invalid-request',
    'migration: this deployment knows no system to take datasets over from; set TIMESTORE_ORIGIN_URL and TIMESTORE_ORIGIN_KEY.',
  );
}

export function mirrorStateView(mirrored: MirrorState | undefined) {
  if (mirrored === undefined) return null;
  const { oldestAge_ms, ...rest } = mirrored;
  return { ...rest, oldestAgeMs: oldestAge_ms === null ? null : Math.round(oldestAge_ms) };
}
