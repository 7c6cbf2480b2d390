import type { MonitoringDeps } from '../deps.ts';
import { isOpen, maintenanceOf, windowsWithin } from '../maintenance-windows.ts';
import { selects } from '../resources/common.ts';
import type { MaintenanceDefinition } from '../resources/mutes.ts';
import type { PageDefinition } from '../resources/page.ts';
import type { Service } from '../resources/service.ts';
import { type MonitorConfig, readConfig } from '../resources/store.ts';
import { rollUp, type StatusCode, statusCodes } from '../status.ts';
import { addCounts, countAvailability, noSlots, type ServiceCounts } from './availability.ts';
import { readClock_ms } from './clock.ts';
import { type Current, effectiveStatus, readCurrent } from './current.ts';
import { publicId, readIncidents } from './incidents.ts';
import { allRows } from './read-table.ts';
import { slotServices } from './slots.ts';
import type { ComponentStatus, PublicMaintenance, PublicPage } from './view.ts';

const day_ms = 86_400_000;
/** Days of the bars, today included. */
export const pageDays = 90;
const upcoming_ms = 14 * day_ms;
const past_ms = 14 * day_ms;
/** Windows of one recurring maintenance that a page lists. */
const windowsListed = 3;

/** Builds the page of a slug, with the newest rows. Undefined if it does not exist. Throws ApiError; StoreError. */
export async function buildPage(ctx: MonitoringDeps, dataset: string, slug: string): Promise<PublicPage | undefined> {
  const [config, now_ms] = await Promise.all([readConfig(ctx, dataset), readClock_ms(ctx)]);
  const page = config.pages.find(({ pageId }) => pageId === slug);
  if (page === undefined) return undefined;
  const members = membersOf(page, config);
  const services = [...new Map([...members.values()].flat().map((each) => [each.serviceId, each])).values()];
  const until_ms = (Math.floor(now_ms / day_ms) + 1) * day_ms;
  const range = { from_ms: until_ms - pageDays * day_ms, until_ms, now_ms, every_ms: day_ms };
  const labelsOf = (isMember: (service: Service) => boolean) =>
    page.components.filter(({ id }) => members.get(id)?.some(isMember)).map(({ label }) => label);
  const [current, counts, incidents] = await Promise.all([
    readCurrent(ctx, allRows, dataset, services, now_ms),
    countAvailability(ctx, allRows, dataset, slotServices(config, services, range.from_ms, until_ms), range),
    readIncidents(ctx, dataset, {
      withAutomatic: page.showAutomaticIncidents,
      componentsOf: (serviceId) => labelsOf((service) => service.serviceId === serviceId),
    }),
  ]);
  const maintenances = config.maintenances
    .filter(({ isPublic }) => isPublic)
    .flatMap((each) => publicMaintenances(dataset, each, { now_ms, labelsOf }));
  const open = config.maintenances.filter((each) => isOpen(each, now_ms));
  const isInMaintenance = (service: Service) => maintenanceOf(open, service) !== undefined;
  return {
    version: 1,
    isPublic: page.isPublic,
    slug,
    title: page.title,
    description: page.description,
    createdAt_ms: page.createdAt_ms,
    asOf_ms: now_ms,
    components: page.components.map(({ id, label, group }) => {
      const own = members.get(id) ?? [];
      return {
        id,
        label,
        group: group ?? null,
        ...statusOf(own, { current, now_ms, isInMaintenance }),
        days: daysOf(own, counts),
      };
    }),
    incidents,
    maintenances: maintenances.toSorted(byUrgency),
  };
}

/** The enabled services of each component. */
function membersOf(page: PageDefinition, config: MonitorConfig): Map<string, Service[]> {
  const enabled = [...config.services.values()].filter((service) => service.enabled);
  return new Map(
    page.components.map(({ id, services }) => [
      id,
      enabled.filter((service) => services.some((selector) => selects(selector, service))),
    ]),
  );
}

type StatusInputs = {
  current: Map<string, Current>;
  now_ms: number;
  isInMaintenance: (service: Service) => boolean;
};

/**
 * The status of a component: an outage is major if all of its services that run fail, else partial. A component whose
 * services are all in maintenance is in maintenance. Unknown is shown as degraded, never as operational.
 */
function statusOf(
  services: Service[],
  { current, now_ms, isInMaintenance }: StatusInputs,
): { status: ComponentStatus; isKnown: boolean } {
  const inService = services.filter((service) => !isInMaintenance(service));
  if (services.length > 0 && inService.length === 0) return { status: 'under_maintenance', isKnown: true };
  const codes = inService.map(
    (service) => effectiveStatus(service, current.get(service.serviceId), now_ms) as StatusCode,
  );
  const running = codes.filter((code) => code !== statusCodes.stopped);
  const code = rollUp(running);
  if (code === statusCodes.failed) {
    const isWhole = running.every((each) => each === statusCodes.failed);
    return { status: isWhole ? 'major_outage' : 'partial_outage', isKnown: true };
  }
  if (code === statusCodes.ok) return { status: 'operational', isKnown: true };
  return { status: 'degraded_performance', isKnown: code !== statusCodes.unknown };
}

function daysOf(services: Service[], counts: ServiceCounts): PublicPage['components'][number]['days'] {
  const sums = new Map<number, typeof noSlots>();
  for (const { serviceId } of services) {
    for (const [at_ms, count] of counts.get(serviceId) ?? []) {
      sums.set(at_ms, addCounts(sums.get(at_ms) ?? noSlots, count));
    }
  }
  return [...sums].map(([at_ms, count]) => ({ at_ms, ...count }));
}

function publicMaintenances(
  dataset: string,
  definition: MaintenanceDefinition & { maintenanceId: string },
  { now_ms, labelsOf }: { now_ms: number; labelsOf: (isMember: (service: Service) => boolean) => string[] },
): PublicMaintenance[] {
  const components = labelsOf((service) => definition.services.some((selector) => selects(selector, service)));
  if (components.length === 0) return [];
  const windows = windowsWithin(definition, now_ms - past_ms, now_ms + upcoming_ms);
  const past = windows.filter(({ until_ms }) => until_ms <= now_ms).slice(-1);
  const next = windows.filter(({ until_ms }) => until_ms > now_ms).slice(0, windowsListed);
  return [...past, ...next].map(({ from_ms, until_ms }) => ({
    id: publicId(dataset, 'maintenance', definition.maintenanceId, String(from_ms)),
    title: definition.title,
    status: until_ms <= now_ms ? 'completed' : from_ms <= now_ms ? 'in_progress' : 'scheduled',
    from_ms,
    until_ms,
    components,
  }));
}

function byUrgency(a: PublicMaintenance, b: PublicMaintenance): number {
  const isOver = ({ status }: PublicMaintenance) => Number(status === 'completed');
  return isOver(a) - isOver(b) || (isOver(a) === 1 ? b.from_ms - a.from_ms : a.from_ms - b.from_ms);
}
