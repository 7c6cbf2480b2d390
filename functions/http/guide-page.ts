import { Marked, type Token, type Tokens } from 'marked';
import { guideIndex } from './guide-list.ts';

/** The name of a heading in links, by the rules of repository browsers, so that a link works there and here. */
export function slugOfHeading(text: string): string {
  return text
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replace(/\s/g, '-');
}

type Heading = { depth: number; text: string; slug: string };

/** The headings of a document in order. Two of the same text have different names: the second ends in -1. */
export function headingsOf(markdown: string): Heading[] {
  const times = new Map<string, number>();
  return new Marked().lexer(markdown).flatMap((token) => {
    if (token.type !== 'heading') return [];
    const { depth, tokens = [] } = token as Tokens.Heading;
    const text = plainText(tokens);
    const slug = slugOfHeading(text);
    const time = times.get(slug) ?? 0;
    times.set(slug, time + 1);
    return [{ depth, text, slug: time === 0 ? slug : `${slug}-${time}` }];
  });
}

/** The page of a guide, or of the index where `name` is README. */
export function renderGuide(name: string, markdown: string): string {
  const headings = headingsOf(markdown);
  const title = headings[0]?.text ?? name;
  return `<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>${escapeHtml(name === 'README' ? title : `${title} · Timestore`)}</title>
  <link rel="stylesheet" href="/docs/guide.css">
  <link rel="icon" href="/docs/favicon-32x32.png">
  <link rel="alternate" type="text/markdown" href="/docs/${name}.md">
</head>
<body>
<header><a href="/docs/"><b>Timestore</b></a><a class="menu" href="#guides">Guides</a><a href="/docs/api">API</a>
<a href="/docs/${name}.md">Markdown</a></header>
<main>
${renderMarkdown(markdown, headings)}
</main>
<nav id="guides" aria-label="Guides">
${renderNavigation(name, headings)}
</nav>
</body>
</html>
`;
}

function renderMarkdown(markdown: string, headings: Heading[]): string {
  const left = headings.values();
  const marked = new Marked({
    renderer: {
      heading({ tokens, depth }) {
        const slug = left.next().value?.slug ?? '';
        return `<h${depth} id="${slug}"><a href="#${slug}">${this.parser.parseInline(tokens)}</a></h${depth}>\n`;
      },
      link({ href, tokens }) {
        return `<a href="${escapeHtml(addressOf(href))}">${this.parser.parseInline(tokens)}</a>`;
      },
      // What is wider than a phone scrolls by itself, also by keyboard.
      code({ text, lang = '' }) {
        const [language = ''] = lang.split(' ');
        return `<pre tabindex="0"><code class="${escapeHtml(language)}">${escapeHtml(text)}\n</code></pre>\n`;
      },
      table({ header, rows }) {
        const cells = (row: Tokens.TableCell[], tag: 'th' | 'td') =>
          `<tr>${row.map(({ tokens }) => `<${tag}>${this.parser.parseInline(tokens)}</${tag}>`).join('')}</tr>`;
        const body = rows.map((row) => cells(row, 'td')).join('\n');
        return `<div class="table" tabindex="0"><table><thead>${cells(header, 'th')}</thead><tbody>\n${body}\n</tbody></table></div>\n`;
      },
    },
  });
  return marked.parse(markdown, { async: false });
}

/** A link among the guides is of files, for repository browsers; here it is one of pages. */
function addressOf(href: string): string {
  return href.replace(/^([a-z-]+|README)\.md(?=#|$)/, (_, name: string) =>
    name === 'README' ? '/docs/' : `/docs/${name}`,
  );
}

/** The links of the index, and beneath the page's own the sections of the page. */
function renderNavigation(current: string, headings: Heading[]): string {
  const sections = headings
    .filter(({ depth }) => depth === 2)
    .map(({ slug, text }) => `<li><a href="#${slug}">${escapeHtml(text)}</a></li>`)
    .join('');
  const groups = [...guideIndex.matchAll(/^## (.+)$|^\s*- \[([^\]]+)\]\(([a-z-]+)\.md\)/gm)];
  const lines = groups.map(([, group, title = '', name = '']) => {
    if (group !== undefined) return `</ul><p>${escapeHtml(group)}</p><ul>`;
    if (name !== current) return `<li><a href="/docs/${name}">${escapeHtml(title)}</a></li>`;
    return `<li><a href="/docs/${name}" aria-current="page">${escapeHtml(title)}</a><ul>${sections}</ul></li>`;
  });
  return `<ul>${lines.join('\n')}</ul>`.replace('<ul></ul>', '');
}

function plainText(tokens: Token[]): string {
  return tokens.map((token) => ('tokens' in token ? plainText(token.tokens ?? []) : textOf(token))).join('');
}

/** Of code it is what stands between the marks. */
function textOf(token: Token): string {
  return unescapeHtml('text' in token ? String(token.text) : token.raw);
}

function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

function unescapeHtml(text: string): string {
  return text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&quot;', '"').replaceAll('&amp;', '&');
}
