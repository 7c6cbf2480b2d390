import type * as z from 'zod';
import { channelDefinition } from './channel.ts';
import { maintenanceDefinition, silenceDefinition } from './mutes.ts';
import { pageDefinition, sloDefinition } from './page.ts';
import { relationDefinition } from './relation.ts';
import { ruleDefinition } from './rule.ts';
import { serviceDefinition } from './service.ts';

/** The definition of each kind of resource. */
export const definitions = {
  service: serviceDefinition,
  relation: relationDefinition,
  rule: ruleDefinition,
  channel: channelDefinition,
  silence: silenceDefinition,
  maintenance: maintenanceDefinition,
  page: pageDefinition,
  slo: sloDefinition,
} as const;

export type Kind = keyof typeof definitions;
export type Definitions = { [K in Kind]: z.output<(typeof definitions)[K]> };

/** In the order in which lists and files name them: a resource comes after those that it refers to. */
export const kinds = Object.keys(definitions) as [Kind, ...Kind[]];

/** The name of a kind's collection in paths, files and answers. */
export const collections = {
  service: 'services',
  relation: 'relations',
  rule: 'rules',
  channel: 'channels',
  silence: 'silences',
  maintenance: 'maintenances',
  page: 'pages',
  slo: 'slos',
} as const satisfies Record<Kind, string>;

export type Collection = (typeof collections)[Kind];

/** Names a resource in errors. */
export function nameOf({ kind, id }: { kind: Kind; id: string }): string {
  return kind === 'slo' ? `SLO ${id}` : `${kind[0]?.toUpperCase()}${kind.slice(1)} ${id}`;
}
