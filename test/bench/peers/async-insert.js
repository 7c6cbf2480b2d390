/**
 * What a user would write without Timestore: a Worker that checks the rows and hands them to ClickHouse, which collects
 * them (`async_insert`) and answers when they are stored (`wait_for_async_insert`).
 */
const fields = {
  timestamp: (value) => typeof value === 'string' && !Number.isNaN(Date.parse(value)),
  device: (value) => typeof value === 'string',
  region: (value) => typeof value === 'string',
  celsius: (value) => typeof value === 'number',
  humidity: (value) => typeof value === 'number',
  n: (value) => Number.isSafeInteger(value),
  ok: (value) => typeof value === 'boolean',
};

const problem = (status, detail) => Response.json({ detail }, { status });

function faultOf(row) {
  if (typeof row !== 'object' || row === null) return 'is not an object';
  for (const name in row) {
    if (!(name in fields)) return `has an unknown field ${name}`;
    if (row[name] !== null && !fields[name](row[name])) return `${name} has a wrong type`;
  }
  return row.timestamp === undefined ? 'has no timestamp' : undefined;
}

export default {
  async fetch(request, env) {
    if (request.headers.get('authorization') !== `Bearer ${env.KEY}`) return problem(401, 'this key is not valid here');
    let rows;
    try {
      rows = JSON.parse(await request.text());
    } catch {
      return problem(400, 'the body is not valid JSON');
    }
    let ndjson = '';
    for (const [i, row] of rows.entries()) {
      const fault = faultOf(row);
      if (fault !== undefined) return problem(422, `row ${i} ${fault}`);
      ndjson += `${JSON.stringify(row)}\n`;
    }
    const answer = await fetch(env.INSERT_URL, {
      method: 'POST',
      headers: { 'x-clickhouse-user': env.CLICKHOUSE_USER, 'x-clickhouse-key': env.CLICKHOUSE_PASSWORD },
      body: ndjson,
    });
    const text = await answer.text();
    return answer.ok ? Response.json({ accepted: rows.length }, { status: 202 }) : problem(503, text.slice(0, 200));
  },
};
