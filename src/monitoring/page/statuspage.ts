import { publicId } from './incidents.ts';
import { componentText, overallStatus, type PublicIncident, type PublicMaintenance, type PublicPage } from './view.ts';

/** The documents of Statuspage's API, version 2, which many programs poll: https://www.atlassian.com/software/statuspage */
export const statuspageFiles = [
  'summary.json',
  'status.json',
  'components.json',
  'incidents.json',
  'scheduled-maintenances.json',
] as const;

export type StatuspageFile = (typeof statuspageFiles)[number];

const iso = (time_ms: number) => new Date(time_ms).toISOString();
const isoOrNull = (time_ms: number | null) => (time_ms === null ? null : iso(time_ms));

/** A document of a page. `url` is the address of the page. */
export function statuspageDocument(page: PublicPage, url: string, file: StatuspageFile): object {
  const pageId = publicId('page', url);
  const head = {
    page: { id: pageId, name: page.title, url, time_zone: 'Etc/UTC', updated_at: iso(page.asOf_ms) },
  };
  const { indicator, text } = overallStatus(page);
  const status = { status: { indicator, description: text } };
  const components = { components: componentList(page, pageId) };
  const incidents = page.incidents.map((incident) => incidentDocument(page, pageId, url, incident));
  const maintenances = page.maintenances.map((each) => maintenanceDocument(page, pageId, url, each));
  switch (file) {
    case 'status.json':
      return { ...head, ...status };
    case 'components.json':
      return { ...head, ...components };
    case 'incidents.json':
      return { ...head, incidents };
    case 'scheduled-maintenances.json':
      return { ...head, scheduled_maintenances: maintenances };
    case 'summary.json':
      return {
        ...head,
        ...components,
        incidents: incidents.filter(({ resolved_at }) => resolved_at === null),
        scheduled_maintenances: maintenances.filter((each) => each.status !== 'completed'),
        ...status,
      };
  }
}

/** Components and, as in Statuspage, a component for each group. */
function componentList(page: PublicPage, pageId: string) {
  const common = {
    created_at: iso(page.createdAt_ms),
    updated_at: iso(page.asOf_ms),
    showcase: true,
    start_date: null,
    page_id: pageId,
    only_show_if_degraded: false,
  };
  const groups = [...new Set(page.components.flatMap(({ group }) => group ?? []))];
  const groupId = (name: string) => publicId(pageId, 'group', name);
  const members = page.components.map(({ id, label, status, isKnown, group }, i) => ({
    ...common,
    id,
    name: label,
    status,
    description: isKnown ? null : componentText({ status, isKnown }),
    position: i + 1,
    group_id: group === null ? null : groupId(group),
    group: false,
  }));
  const heads = groups.map((name, i) => {
    const own = members.filter(({ group_id }) => group_id === groupId(name));
    return {
      ...common,
      id: groupId(name),
      name,
      status: worstOf(own.map(({ status }) => status)),
      description: null,
      position: page.components.length + i + 1,
      group_id: null,
      group: true,
      components: own.map(({ id }) => id),
    };
  });
  return [...members, ...heads];
}

const worstFirst = ['major_outage', 'partial_outage', 'degraded_performance', 'under_maintenance'] as const;

function worstOf(statuses: string[]): string {
  return worstFirst.find((status) => statuses.includes(status)) ?? 'operational';
}

function affectedComponents(page: PublicPage, pageId: string, labels: string[]) {
  return componentList(page, pageId).filter((component) => !component.group && labels.includes(component.name));
}

function incidentDocument(page: PublicPage, pageId: string, url: string, incident: PublicIncident) {
  const { id, title, impact, status, openedAt_ms, resolvedAt_ms, components, updates } = incident;
  return {
    id,
    name: title,
    status,
    impact,
    shortlink: `${url}#${id}`,
    created_at: iso(openedAt_ms),
    started_at: iso(openedAt_ms),
    updated_at: iso(updates[0]?.at_ms ?? resolvedAt_ms ?? openedAt_ms),
    monitoring_at: isoOrNull(updates.findLast((update) => update.status === 'monitoring')?.at_ms ?? null),
    resolved_at: isoOrNull(resolvedAt_ms),
    page_id: pageId,
    components: affectedComponents(page, pageId, components),
    incident_updates: updates.map((update, i) => ({
      id: publicId(id, String(updates.length - i)),
      incident_id: id,
      status: update.status,
      body: update.body,
      created_at: iso(update.at_ms),
      updated_at: iso(update.at_ms),
      display_at: iso(update.at_ms),
      affected_components: [],
    })),
  };
}

function maintenanceDocument(page: PublicPage, pageId: string, url: string, maintenance: PublicMaintenance) {
  const { id, title, status, from_ms, until_ms, components } = maintenance;
  // A recurring window has no time of its own at which it was planned.
  const created = iso(Math.min(from_ms, page.asOf_ms));
  return {
    id,
    name: title,
    status,
    impact: 'maintenance',
    shortlink: `${url}#${id}`,
    created_at: created,
    started_at: iso(from_ms),
    updated_at: created,
    monitoring_at: null,
    resolved_at: status === 'completed' ? iso(until_ms) : null,
    scheduled_for: iso(from_ms),
    scheduled_until: iso(until_ms),
    page_id: pageId,
    components: affectedComponents(page, pageId, components),
    incident_updates: [],
  };
}
