import * as z from 'zod';
import { readModes, type Takeover } from '../../src/catalog/read-routing.ts';
import type { Config } from '../../src/core/config.ts';
import { ApiError } from '../../src/core/errors.ts';
import type { MirrorState } from '../../src/operations/takeover/mirror-state.ts';

export const takeoverSchema = z.strictObject({
  reads: z.enum(readModes).meta({
    description:
      'system that answers queries. `off`: the source system; `compare`: the source system, and its answers are compared with ' +
      'those of this deployment; `on`: this deployment. A change reaches all instances within 10 s',
  }),
  mirror: z.boolean().meta({ description: 'true: accepted rows are also sent to the source system' }),
});

export const withMirrorSchema = takeoverSchema.extend({
  mirrored: z
    .object({
      behindRows: z
        .int()
        .meta({ description: 'accepted rows that the source system has not received, including buffered rows' }),
      oldestAgeMs: z.int().nullable().meta({ description: 'age of the oldest of these rows' }),
      stoppedLanes: z
        .int()
        .meta({ description: 'lanes whose rows the source system rejected; their jobs wait for a retry' }),
      error: z.string().nullable().meta({ description: 'reason of the last failure' }),
    })
    .nullable()
    .meta({ description: 'progress of the mirror; null without a mirror' }),
});

/** Throws ApiError `invalid-request` for a takeover that needs a source system, if the deployment has none. */
export function requireSource(migration: Takeover | null | undefined, config: Config): void {
  const isNeeded = migration?.mirror || (migration?.reads ?? 'on') !== 'on';
  if (!isNeeded || config.TIMESTORE_ORIGIN_URL !== undefined) return;
  throw new ApiError(
    'invalid-request',
    'migration: this deployment has no source system; set TIMESTORE_ORIGIN_URL and TIMESTORE_ORIGIN_KEY.',
  );
}

export function mirrorStateView(mirrored: MirrorState | undefined) {
  if (mirrored === undefined) return null;
  const { oldestAge_ms, ...rest } = mirrored;
  return { ...rest, oldestAgeMs: oldestAge_ms === null ? null : Math.round(oldestAge_ms) };
}
