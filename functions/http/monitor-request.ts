import { slug } from '../../src/core/identifiers.ts';
import type { Scope } from '../../src/keys/key.ts';

/** The dataset of a request of service monitoring. The route calls `requireDataset` with it. */
export const datasetQuery = {
  dataset: slug.default('monitor').meta({ description: 'the monitored dataset' }),
};

/** Scopes that read configuration and state of service monitoring. */
export const monitorReadScopes = ['query', 'sql', 'admin'] as const satisfies Scope[];
