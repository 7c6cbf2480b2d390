/** The look of the guides' pages, on a phone and in dark mode too. */
export const guideStyle = `:root {
  color-scheme: light dark;
  --text: #1d2129;
  --quiet: #5a6372;
  --page: #ffffff;
  --box: #f4f5f7;
  --line: #dfe2e8;
  --link: #0b5cad;
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: #e4e6eb;
    --quiet: #a0a8b5;
    --page: #14171c;
    --box: #1f242c;
    --line: #343b46;
    --link: #7db7ff;
  }
}
* {
  box-sizing: border-box;
}
html {
  scroll-padding-top: 1rem;
  -webkit-text-size-adjust: 100%;
}
body {
  margin: 0 auto;
  max-width: 80rem;
  color: var(--text);
  background: var(--page);
  font: 1rem / 1.6 system-ui, sans-serif;
  display: grid;
  grid-template-columns: 15rem minmax(0, 1fr);
  grid-template-areas: "head head" "nav main";
}
header {
  grid-area: head;
  display: flex;
  gap: 1.25rem;
  padding: 0.75rem 1.25rem;
  border-bottom: 1px solid var(--line);
}
header b {
  color: var(--text);
}
header .menu {
  display: none;
}
nav {
  grid-area: nav;
  padding: 1.25rem;
  font-size: 0.9rem;
  position: sticky;
  top: 0;
  align-self: start;
  max-height: 100vh;
  overflow-y: auto;
}
nav p {
  margin: 1rem 0 0.25rem;
  color: var(--quiet);
  font-weight: 600;
}
nav p:first-child {
  margin-top: 0;
}
nav ul {
  margin: 0;
  padding: 0;
  list-style: none;
}
nav ul ul {
  margin: 0.1rem 0 0.4rem;
  padding-left: 0.75rem;
  border-left: 2px solid var(--line);
}
nav ul ul a {
  color: var(--quiet);
}
nav a {
  display: block;
  padding: 0.1rem 0;
}
nav a[aria-current] {
  color: var(--text);
  font-weight: 600;
}
main {
  grid-area: main;
  padding: 1.25rem;
  max-width: 60rem;
}
a {
  color: var(--link);
  text-decoration: none;
}
a:hover {
  text-decoration: underline;
}
main p a,
main li a,
main td a {
  text-decoration: underline;
}
h1,
h2,
h3 {
  line-height: 1.25;
  margin: 2rem 0 0.75rem;
}
h1 {
  margin-top: 0;
  font-size: 1.9rem;
}
h2 {
  font-size: 1.35rem;
}
h3 {
  font-size: 1.1rem;
}
h1 a,
h2 a,
h3 a {
  color: inherit;
}
code,
pre {
  font: 0.875rem / 1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  background: var(--box);
  border-radius: 4px;
}
code {
  padding: 0.1em 0.3em;
  overflow-wrap: break-word;
}
pre {
  padding: 0.75rem 1rem;
  overflow-x: auto;
  border: 1px solid var(--line);
}
pre code {
  padding: 0;
  background: none;
}
.table {
  overflow-x: auto;
}
table {
  border-collapse: collapse;
  font-size: 0.925rem;
}
th,
td {
  padding: 0.4rem 0.75rem 0.4rem 0;
  border-bottom: 1px solid var(--line);
  text-align: left;
  vertical-align: top;
}
td code,
th code {
  overflow-wrap: normal;
}
@media (max-width: 50rem) {
  body {
    display: block;
  }
  header {
    flex-wrap: wrap;
  }
  header .menu {
    display: inline;
  }
  nav {
    position: static;
    max-height: none;
    border-top: 1px solid var(--line);
    font-size: 1rem;
  }
  nav a {
    padding: 0.35rem 0;
  }
  td:last-child {
    min-width: 14rem;
  }
}
`;
