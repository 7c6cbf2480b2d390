import * as z from 'zod';
import { label, resourceId, serviceSelector } from './common.ts';

/** A status page. It shows the labels that are written here, and nothing else of the services. */
export const pageDefinition = z.strictObject({
  title: label,
  description: z.string().max(1_000).default(''),
  components: z
    .array(
      z.strictObject({
        id: resourceId,
        label,
        group: label.optional(),
        services: z.array(serviceSelector).min(1).max(1_000),
      }),
    )
    .max(500),
  isPublic: z.boolean().default(false).meta({ description: 'false: only keys with the scope query see it' }),
  showAutomaticIncidents: z.boolean().default(false),
});

export const sloDefinition = z.strictObject({
  label: label.optional(),
  serviceId: resourceId,
  target: z.number().gt(0).lt(100).meta({ description: 'percent, such as 99.9' }),
  window: z.enum(['7d', '30d', '90d']).default('30d'),
  indicator: z
    .discriminatedUnion('kind', [
      z.strictObject({ kind: z.literal('availability'), degradedIsGood: z.boolean().default(true) }),
      z.strictObject({ kind: z.literal('latency'), below_ms: z.int().positive() }),
    ])
    .default({ kind: 'availability', degradedIsGood: true }),
  minBad: z.int().min(1).default(3),
});

export type PageDefinition = z.output<typeof pageDefinition>;
export type SloDefinition = z.output<typeof sloDefinition>;
