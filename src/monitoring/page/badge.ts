import { summarizeDays } from './bars.ts';
import { escapeText } from './text.ts';
import type { PublicComponent } from './view.ts';

type Badge = { label: string; message: string; color: string };

const words: Record<PublicComponent['status'], [word: string, color: string]> = {
  operational: ['up', 'brightgreen'],
  degraded_performance: ['degraded', 'yellow'],
  partial_outage: ['partly down', 'orange'],
  major_outage: ['down', 'red'],
  under_maintenance: ['maintenance', 'blue'],
};

/** What a badge says of a component: its status and its availability in the days of the page. */
function badgeOf(component: PublicComponent): Badge {
  const { label, status, isKnown } = component;
  if (!isKnown) return { label, message: 'no recent data', color: 'lightgrey' };
  const [word, color] = words[status];
  const { percent } = summarizeDays(component);
  return { label, message: percent === null ? word : `${word} ${percent}`, color };
}

/** The document of a badge for shields.io: https://shields.io/badges/endpoint-badge */
export function badgeJson(component: PublicComponent) {
  return { schemaVersion: 1, ...badgeOf(component), cacheSeconds: 60, isError: false };
}

/** Dark enough for white text; yellow and light grey are those of the page. */
const fills: Record<string, string> = {
  brightgreen: '#1b7f4f',
  yellow: '#8a6100',
  orange: '#a84a00',
  red: '#b3242a',
  blue: '#2559ad',
  lightgrey: '#5c6470',
};

/** Width of a character in tenths of a pixel, of a sans-serif font of 11 pixels. */
function width_10(character: string): number {
  if (/[ijl.,:;|!'()[\] ]/.test(character)) return 40;
  if (/[frtI-]/.test(character)) return 48;
  if (/[mwMW@%]/.test(character)) return 105;
  if (/[A-Z&]/.test(character)) return 80;
  return character.codePointAt(0) !== undefined && (character.codePointAt(0) ?? 0) > 0x2e80 ? 115 : 70;
}

function textWidth(text: string): number {
  return Math.ceil([...text].reduce((sum, character) => sum + width_10(character), 0) / 10) + 12;
}

const labelChars_max = 60;

/** A badge of a component as SVG. */
export function badgeSvg(component: PublicComponent): string {
  const { label, message, color } = badgeOf(component);
  const characters = [...label];
  const shown = characters.length > labelChars_max ? `${characters.slice(0, labelChars_max - 1).join('')}…` : label;
  const [left, right] = [textWidth(shown), textWidth(message)];
  const text = (x: number, width: number, content: string) =>
    `<text x="${x + width / 2}" y="14" textLength="${width - 12}" lengthAdjust="spacingAndGlyphs">${escapeText(content)}</text>`;
  const title = escapeText(`${label}: ${message}`);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${left + right}" height="20" role="img" aria-label="${title}">
<title>${title}</title>
<clipPath id="r"><rect width="${left + right}" height="20" rx="3"/></clipPath>
<g clip-path="url(#r)"><rect width="${left}" height="20" fill="#444b55"/><rect x="${left}" width="${right}" height="20" fill="${fills[color]}"/></g>
<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
${text(0, left, shown)}
${text(left, right, message)}
</g>
</svg>
`;
}

const iconFills = { none: '#1f9d63', minor: '#d99a00', major: '#d13438', critical: '#d13438' };

/** The icon of a page, in the colour of its status. */
export function iconSvg(indicator: keyof typeof iconFills): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="7" fill="${iconFills[indicator]}"/></svg>\n`;
}
