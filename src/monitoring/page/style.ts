import { hash } from 'node:crypto';

/** The look of a status page, on a phone and in dark mode too. Texts have a contrast of at least 4.5. */
export const pageStyle = `
:root {
  color-scheme: light dark;
  --text: #1b1f27; --quiet: #565f6e; --page: #f6f7f9; --box: #ffffff; --line: #dde1e8; --link: #0b5cad;
  --up: #1f9d63; --partial: #d99a00; --down: #d13438; --plan: #3a76d8; --none: #b9c0cb;
  --up-text: #12704a; --partial-text: #835c00; --down-text: #b3242a; --plan-text: #2559ad;
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: #e6e8ed; --quiet: #a3abb8; --page: #12151a; --box: #1b2028; --line: #323a46; --link: #7db7ff;
    --up: #34b87a; --partial: #e0ad33; --down: #ef5a5f; --plan: #6ba2f5; --none: #4b5461;
    --up-text: #56d196; --partial-text: #ecc057; --down-text: #ff8a8e; --plan-text: #8fbaff;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 2.5rem 1.25rem; max-width: 52rem; color: var(--text); background: var(--page);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere;
}
h1, h2, h3, p, ul, ol { margin: 0; padding: 0; }
ul, ol { list-style: none; }
h1 { font-size: 1.6rem; line-height: 1.25; }
h2 { font-size: 1.05rem; line-height: 1.3; }
h3 { font-size: 1rem; line-height: 1.35; }
a { color: var(--link); }
a:focus-visible, summary:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; border-radius: 2px; }
header { margin-bottom: 1.5rem; }
header p { margin-top: 0.35rem; color: var(--quiet); }
section { margin-bottom: 2.25rem; }
section > h2 { margin-bottom: 0.75rem; }
section > h3 { margin: 1.25rem 0 0.5rem; color: var(--quiet); font-weight: 600; font-size: 0.9rem; }
.overall {
  padding: 1rem 1.25rem; border: 1px solid var(--line); border-left: 6px solid var(--up); border-radius: 8px; background: var(--box);
}
.overall h2 { margin: 0; font-size: 1.25rem; }
.overall p { margin-top: 0.2rem; color: var(--quiet); font-size: 0.9rem; }
.overall.nothing { border-left-color: var(--none); }
.overall.minor { border-left-color: var(--partial); }
.overall.major, .overall.critical { border-left-color: var(--down); }
.components, .event { border: 1px solid var(--line); border-radius: 8px; background: var(--box); }
.components + .components { margin-top: 1rem; }
.components > li { padding: 1rem 1.25rem; }
.components > li + li { border-top: 1px solid var(--line); }
.name { display: flex; justify-content: space-between; align-items: baseline; gap: 1rem; }
.name b { font-weight: 600; min-width: 0; }
.state { flex: none; font-size: 0.9rem; font-weight: 600; }
.operational { color: var(--up-text); }
.degraded_performance, .partial_outage { color: var(--partial-text); }
.major_outage { color: var(--down-text); }
.under_maintenance { color: var(--plan-text); }
.unknown { color: var(--quiet); }
.bars { display: block; width: 100%; height: 2rem; margin-top: 0.6rem; }
.bars .up { fill: var(--up); } .bars .partial { fill: var(--partial); } .bars .down { fill: var(--down); }
.bars .maintenance { fill: var(--plan); } .bars .none { fill: var(--none); }
.legend { display: flex; justify-content: space-between; gap: 1rem; margin-top: 0.3rem; color: var(--quiet); font-size: 0.8rem; }
details { margin-top: 0.4rem; font-size: 0.85rem; color: var(--quiet); }
summary { cursor: pointer; width: fit-content; }
details ul { margin-top: 0.3rem; columns: 13rem; font-variant-numeric: tabular-nums; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.event { padding: 1rem 1.25rem; border-left-width: 6px; }
.event + .event { margin-top: 0.75rem; }
.event.none, .event.minor { border-left-color: var(--partial); }
.event.major, .event.critical { border-left-color: var(--down); }
.event.planned { border-left-color: var(--plan); }
.event.over { border-left-color: var(--none); }
.facts { display: flex; flex-wrap: wrap; gap: 0 0.75rem; margin-top: 0.15rem; color: var(--quiet); font-size: 0.9rem; }
.facts span:first-child { font-weight: 600; color: var(--text); }
.affected { margin-top: 0.25rem; font-size: 0.9rem; color: var(--quiet); }
.event ol { margin-top: 0.75rem; border-top: 1px solid var(--line); }
.event ol > li { padding-top: 0.75rem; font-size: 0.95rem; }
.event ol time { color: var(--quiet); font-size: 0.85rem; margin-left: 0.35rem; }
.event ol p { white-space: pre-line; }
.empty { padding: 1rem 1.25rem; border: 1px dashed var(--line); border-radius: 8px; color: var(--quiet); }
footer { border-top: 1px solid var(--line); padding-top: 1rem; color: var(--quiet); font-size: 0.85rem; }
footer p + p { margin-top: 0.35rem; }
footer span { margin-left: 0.75rem; }
@media (max-width: 34rem) {
  body { padding: 1.5rem 0.875rem; }
  .name { flex-wrap: wrap; gap: 0 1rem; }
  .components > li, .event, .overall, .empty { padding: 0.875rem; }
  footer span { display: block; margin: 0.35rem 0 0; }
}
@media (forced-colors: active) { .bars { forced-color-adjust: none; } }
`;

/** Allows nothing but this style and the icon of the page. */
export const pagePolicy =
  `default-src 'none'; style-src 'sha256-${hash('sha256', pageStyle, 'base64')}'; img-src 'self'; base-uri 'none'; ` +
  "form-action 'none'; frame-ancestors 'none'";
