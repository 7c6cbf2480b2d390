import type { Definitions, Kind } from '../resources/kinds.ts';

/** Another resource that a definition needs. */
export type Reference = { kind: Kind; id: string; path: string };

/** The resources that a definition names. `*`, `stack:` and `type:` select services and name none. */
export function referencesOf(kind: Kind, definition: unknown): Reference[] {
  const of = <K extends Kind>(_: K) => definition as Definitions[K];
  const service = (id: string, path: string): Reference[] =>
    id === '*' || /^(?:stack|type):/.test(id) ? [] : [{ kind: 'service', id, path }];
  const services = (ids: string[], path: string) => ids.flatMap((id, i) => service(id, `${path}.${i}`));
  const channels = (ids: string[], path: string) =>
    ids.map((id, i): Reference => ({ kind: 'channel', id, path: `${path}.${i}` }));
  switch (kind) {
    case 'relation': {
      const { sourceServiceId, targetServiceId } = of(kind);
      return [...service(sourceServiceId, 'sourceServiceId'), ...service(targetServiceId, 'targetServiceId')];
    }
    case 'rule': {
      const { serviceId, notificationChannels, escalation } = of(kind);
      const steps = escalation.flatMap((step, i) => channels(step.channels, `escalation.${i}.channels`));
      const told = channels(notificationChannels, 'notificationChannels');
      return [...service(serviceId, 'serviceId'), ...told, ...steps];
    }
    case 'maintenance':
      return services(of(kind).services, 'services');
    case 'page':
      return of(kind).components.flatMap((each, i) => services(each.services, `components.${i}.services`));
    case 'slo':
      return service(of(kind).serviceId, 'serviceId');
    case 'service':
    case 'channel':
    case 'silence':
      return [];
    default:
      return kind satisfies never;
  }
}
