import * as z from 'zod';
import { resourceId } from './common.ts';

/** The source needs the target, unless it is a part of it: while the target fails, alerts of the source are suppressed. */
export const relationDefinition = z.strictObject({
  sourceServiceId: resourceId,
  targetServiceId: resourceId,
  relationType: z.enum(['depends_on', 'runs_on', 'part_of']).default('depends_on'),
  enabled: z.boolean().default(true),
});

export type RelationDefinition = z.output<typeof relationDefinition>;
