import { createRequire } from 'node:module';
import { connect, createServer } from 'node:net';
import { libchdbPath } from 'chdb/libchdb';
import { serveEngine } from '../serve.ts';

export type ClickHouseOptions = {
  configFile: string;
  dataDir: string;
  httpPort: number;
  tcpPort: number;
  /** The port on which other nodes connect. */
  gatePort?: number | undefined;
  /** The user that kills the server's own query to stop the server. */
  stopper: { user: string; password: string };
};

// CommonJS only: its types resolve for import, its module does not.
const { DataType, load, open } = createRequire(import.meta.url)('ffi-rs') as typeof import('ffi-rs');

/**
 * libchdb is a whole ClickHouse behind one C function that takes the command line of clickhouse-local. A local ClickHouse
 * listens on request of a query, and only while a query runs. So the last query here runs until it is killed.
 */
const holdName = 'timestore-hold';
const script = [
  'SYSTEM START LISTEN HTTP',
  'SYSTEM START LISTEN TCP',
  `SELECT '${holdName}', sleepEachRow(0.2) FROM numbers(1000000000)
     SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0, max_execution_time = 0, log_queries = 0
     FORMAT Null`,
].join(';\n');

serveEngine<ClickHouseOptions>((options) => {
  if (options.gatePort !== undefined) openGate(options.gatePort, options.tcpPort);
  open({ library: 'chdb', path: libchdbPath() });
  const args = [
    'clickhouse',
    `--config-file=${options.configFile}`,
    // A local ClickHouse ignores the level in the file; without this argument it logs at "trace".
    '--log-level=error',
    `--path=${options.dataDir}`,
    '--listen_host=127.0.0.1',
    `--http_port=${options.httpPort}`,
    `--tcp_port=${options.tcpPort}`,
    '--query',
    script,
  ];
  let isStopping = false;
  const ended = Promise.resolve(
    load({
      library: 'chdb',
      funcName: 'query_stable_v2',
      retType: DataType.I64,
      paramsType: [DataType.I32, DataType.StringArray],
      paramsValue: [args.length, args],
      // The call returns when the server ends. It runs in its own thread, so this thread can handle messages of the parent.
      runInNewThread: true,
    }),
  );
  const end = () => isStopping || process.exit(1);
  ended.then(end, end);
  return Promise.resolve({
    stop: async () => {
      isStopping = true;
      await endHold(options);
      await ended;
    },
  });
});

/**
 * Proxy for connections of other nodes. A killed node resets its connections. ClickHouse as a library does not catch the
 * resulting error, so the whole process would end. The proxy turns a reset into a normal end of the connection.
 */
function openGate(gatePort: number, tcpPort: number): void {
  createServer((outer) => {
    const inner = connect(tcpPort, '127.0.0.1');
    outer.pipe(inner);
    inner.pipe(outer);
    outer.on('error', () => inner.end());
    inner.on('error', () => outer.destroy());
    inner.on('close', () => outer.destroy());
  }).listen(gatePort, '127.0.0.1');
}

/**
 * Without its last query the server shuts down in order: it accepts no new connections, and it ends once the open ones have
 * ended. The parent kills the process when clients keep connections open beyond its time limit.
 */
async function endHold({ httpPort, stopper }: ClickHouseOptions): Promise<void> {
  await fetch(`http://127.0.0.1:${httpPort}`, {
    method: 'POST',
    headers: { 'X-ClickHouse-User': stopper.user, 'X-ClickHouse-Key': stopper.password, connection: 'close' },
    body: `KILL QUERY WHERE startsWith(query, 'SELECT \\'${holdName}\\'') ASYNC`,
  });
}
