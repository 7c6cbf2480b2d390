import { barsSvg, dayState, describeDay, summarizeDays } from './bars.ts';
import { pageStyle } from './style.ts';
import { escapeText, timeHtml } from './text.ts';
import {
  componentText,
  overallStatus,
  type PublicComponent,
  type PublicIncident,
  type PublicMaintenance,
  type PublicPage,
} from './view.ts';

/**
 * A status page as HTML, without scripts.
 *
 * @param options `base`: the path of the page; `isOld`: the page is a copy from before a failure of the stores
 */
export function renderPage(page: PublicPage, { base, isOld }: { base: string; isOld: boolean }): string {
  const { indicator, text } = overallStatus(page);
  const open = page.incidents.filter(({ status }) => status !== 'resolved');
  const past = page.incidents.filter(({ status }) => status === 'resolved');
  const planned = page.maintenances.filter(({ status }) => status !== 'completed');
  const ended = page.maintenances.filter(({ status }) => status === 'completed');
  const title = escapeText(page.title);
  const feed = (extension: string, type: string, name: string) =>
    `<link rel="alternate" type="${type}" title="${name}" href="${base}/feed.${extension}">`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeText(text)} · ${title}</title>
<meta name="description" content="${escapeText(page.description === '' ? `Status of ${page.title}` : page.description)}">
${feed('rss', 'application/rss+xml', 'RSS')}
${feed('atom', 'application/atom+xml', 'Atom')}
${feed('json', 'application/feed+json', 'JSON Feed')}
<link rel="icon" href="${base}/icon.svg" type="image/svg+xml">
<style>${pageStyle}</style>
</head>
<body>
<header>
<h1>${title}</h1>
${page.description === '' ? '' : `<p>${escapeText(page.description)}</p>`}
</header>
<main>
<section class="overall ${page.components.length === 0 ? 'nothing' : indicator}" aria-label="Overall status">
<h2>${escapeText(text)}</h2>
<p>As of ${timeHtml(page.asOf_ms)}${isOld ? '. Newer data is not available at the moment.' : ''}</p>
</section>
${listSection('Incidents', open.map(renderIncident))}
${listSection('Maintenance', planned.map(renderMaintenance))}
${renderComponents(page.components)}
${historySection([...past.map(renderIncident), ...ended.map(renderMaintenance)])}
</main>
<footer>
<p>Days are in UTC. Days without data and maintenance do not count. This page runs on the system that measures it.</p>
<p>Subscribe: <a href="${base}/feed.rss">RSS</a> <a href="${base}/feed.atom">Atom</a> <a href="${base}/feed.json">JSON</a>
<span>For programs: <a href="${base}/api/v2/summary.json">API</a></span></p>
</footer>
</body>
</html>
`;
}

function listSection(title: string, items: string[]): string {
  if (items.length === 0) return '';
  return `<section aria-label="${title}"><h2>${title}</h2>\n${items.join('\n')}\n</section>`;
}

function historySection(items: string[]): string {
  const body = items.length === 0 ? '<p class="empty">No incidents in the last 90 days.</p>' : items.join('\n');
  return `<section aria-label="Past incidents"><h2>Past incidents</h2>\n${body}\n</section>`;
}

function renderComponents(components: PublicComponent[]): string {
  if (components.length === 0) {
    return '<section aria-label="Components"><h2>Components</h2>\n<p class="empty">This page has no components yet.</p>\n</section>';
  }
  const groups = Map.groupBy(components, ({ group }) => group);
  const lists = [...groups].map(([group, members]) => {
    const items = `<ul class="components">\n${members.map(renderComponent).join('\n')}\n</ul>`;
    return group === null ? items : `<h3>${escapeText(group)}</h3>\n${items}`;
  });
  return `<section aria-label="Components"><h2>Components</h2>\n${lists.join('\n')}\n</section>`;
}

function renderComponent(component: PublicComponent): string {
  const { percent } = summarizeDays(component);
  const state = component.isKnown ? component.status : 'unknown';
  return `<li><div class="name"><b>${escapeText(component.label)}</b>
<span class="state ${state}">${componentText(component)}</span></div>
${barsSvg(component)}
<div class="legend"><span>${component.days.length} days ago</span>
<span>${percent === null ? 'No data yet' : `${percent} available`}</span><span>Today</span></div>
${renderBadDays(component)}</li>`;
}

/** The days with failures in words, for those who cannot point at a bar. */
function renderBadDays({ label, days }: PublicComponent): string {
  const bad = days.filter((day) => ['partial', 'down'].includes(dayState(day))).reverse();
  if (bad.length === 0) return '';
  const items = bad.map((day) => `<li>${describeDay(day)}</li>`).join('');
  const count = `${bad.length} ${bad.length === 1 ? 'day' : 'days'} with failures`;
  return `<details><summary>${count}<span class="hidden"> of ${escapeText(label)}</span></summary><ul>${items}</ul></details>`;
}

const incidentTexts: Record<PublicIncident['status'], string> = {
  investigating: 'Investigating',
  identified: 'Identified',
  monitoring: 'Monitoring',
  resolved: 'Resolved',
};

function renderIncident({
  id,
  title,
  impact,
  status,
  openedAt_ms,
  resolvedAt_ms,
  components,
  updates,
}: PublicIncident): string {
  const items = updates.map(
    (update) =>
      `<li><b>${escapeText(incidentTexts[update.status as PublicIncident['status']] ?? update.status)}</b> ${timeHtml(update.at_ms)}
<p>${escapeText(update.body)}</p></li>`,
  );
  const times =
    resolvedAt_ms === null
      ? `Since ${timeHtml(openedAt_ms)}`
      : `${timeHtml(openedAt_ms)} to ${timeHtml(resolvedAt_ms)}`;
  return `<article id="${id}" class="event ${status === 'resolved' ? 'over' : impact}">
<h3>${escapeText(title)}</h3>
<p class="facts"><span>${incidentTexts[status]}</span> <span>${times}</span></p>
${affected(components)}
${items.length === 0 ? '' : `<ol>${items.join('\n')}</ol>`}
</article>`;
}

const maintenanceTexts: Record<PublicMaintenance['status'], string> = {
  scheduled: 'Scheduled',
  in_progress: 'In progress',
  completed: 'Completed',
};

function renderMaintenance({ id, title, status, from_ms, until_ms, components }: PublicMaintenance): string {
  return `<article id="${id}" class="event ${status === 'completed' ? 'over' : 'planned'}">
<h3>${escapeText(title)}</h3>
<p class="facts"><span>${status === 'completed' ? 'Maintenance completed' : maintenanceTexts[status]}</span> <span>${timeHtml(from_ms)} to ${timeHtml(until_ms)}</span></p>
${affected(components)}
</article>`;
}

function affected(components: string[]): string {
  return components.length === 0 ? '' : `<p class="affected">Affects ${escapeText(components.join(', '))}</p>`;
}
