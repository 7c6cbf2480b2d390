/** Splits an SQL file at semicolons outside of comments, quotes and $tags$. */
export function splitStatements(text: string): string[] {
  const tokens = /--[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^'\\]|\\.|'')*'|"[^"]*"|`[^`]*`|\$(\w*)\$[\s\S]*?\$\1\$|;/g;
  const statements: string[] = [];
  let from = 0;
  for (const match of text.matchAll(tokens)) {
    if (match[0] !== ';') continue;
    statements.push(text.slice(from, match.index));
    from = match.index + 1;
  }
  statements.push(text.slice(from));
  return statements.map((statement) => statement.trim()).filter((statement) => /^(?!--)\S/m.test(statement));
}
