import { addCounts, availabilityOf, noSlots, percentText, type SlotCounts } from './availability.ts';
import { dayText, escapeText } from './text.ts';
import type { PublicComponent, PublicDay } from './view.ts';

/** How a day went: `none` is a day without a known slot. */
export type DayState = 'up' | 'partial' | 'down' | 'maintenance' | 'none';

/** Share of bad slots from which a day counts as down. */
const downShare = 0.05;

export function dayState({ good, bad, all, maintenance }: SlotCounts): DayState {
  if (good + bad === 0) return all === 0 && maintenance > 0 ? 'maintenance' : 'none';
  if (bad === 0) return 'up';
  return bad / (good + bad) >= downShare ? 'down' : 'partial';
}

const height = 32;
/** Bars differ in height too, so that they can be read without colours. */
const tops: Record<DayState, number> = { up: 0, partial: 8, down: 16, maintenance: 20, none: 26 };

/** The availability of the days of a component, and a sentence about it. */
export function summarizeDays({ days }: Pick<PublicComponent, 'days'>): { percent: string | null; text: string } {
  const { availability, coverage } = availabilityOf(days.reduce(addCounts, noSlots as SlotCounts));
  const count = (...states: DayState[]) => days.filter((day) => states.includes(dayState(day))).length;
  if (availability === null) return { percent: null, text: `No data in the last ${days.length} days` };
  const percent = percentText(availability);
  const bad = count('partial', 'down');
  const facts = [
    `${percent} available in the last ${days.length} days`,
    bad === 0 ? 'no day with a failure' : `${bad} ${bad === 1 ? 'day' : 'days'} with failures`,
    ...(coverage !== null && coverage < 99.5 ? [`measured in ${percentText(coverage)} of the time`] : []),
  ];
  return { percent, text: facts.join(', ') };
}

/** One day in words. */
export function describeDay(day: PublicDay): string {
  const { availability } = availabilityOf(day);
  const date = dayText(day.at_ms);
  if (availability === null) return `${date}: ${dayState(day) === 'maintenance' ? 'maintenance' : 'no data'}`;
  return `${date}: ${percentText(availability)}`;
}

/**
 * The bars as a picture with a text alternative. Days with failures or maintenance show their text under a mouse. The others
 * share one path for each state, because a page may have hundreds of components.
 */
export function barsSvg(component: PublicComponent): string {
  const { days } = component;
  const states = days.map(dayState);
  const plain = (['up', 'none'] as const).flatMap((state) => {
    const top = tops[state];
    const bars = states.flatMap((each, i) => (each === state ? `M${i * 4} ${top}h3v${height - top}h-3z` : []));
    return bars.length === 0 ? [] : `<path class="${state}" d="${bars.join('')}"/>`;
  });
  const special = days.flatMap((day, i) => {
    const state = states[i] ?? 'none';
    if (state === 'up' || state === 'none') return [];
    const top = tops[state];
    const bar = `<rect class="${state}" x="${i * 4}" y="${top}" width="3" height="${height - top}"/>`;
    return `<g>${bar}<title>${describeDay(day)}</title></g>`;
  });
  const text = escapeText(`${component.label}: ${summarizeDays(component).text}`);
  return (
    `<svg class="bars" role="img" aria-label="${text}" viewBox="0 0 ${days.length * 4 - 1} ${height}" ` +
    `preserveAspectRatio="none">${plain.join('')}${special.join('')}</svg>`
  );
}
