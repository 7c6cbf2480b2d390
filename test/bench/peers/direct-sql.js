/** SQL sent straight to ClickHouse by a Worker: what it answers is what has been flushed. */
export default {
  async fetch(request, env) {
    if (request.headers.get('authorization') !== `Bearer ${env.KEY}`) return new Response(null, { status: 401 });
    const { sql } = await request.json();
    const answer = await fetch(
      `${env.CLICKHOUSE_URL}/?default_format=JSONCompact&output_format_json_quote_64bit_integers=0`,
      {
        method: 'POST',
        headers: { 'x-clickhouse-user': env.CLICKHOUSE_USER, 'x-clickhouse-key': env.CLICKHOUSE_PASSWORD },
        body: sql,
      },
    );
    return new Response(answer.body, {
      status: answer.ok ? 200 : 503,
      headers: { 'content-type': 'application/json' },
    });
  },
};
