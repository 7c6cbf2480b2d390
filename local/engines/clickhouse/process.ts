import { createRequire } from 'node:module';
import { connect, createServer } from 'node:net';
import { libchdbPath } from 'chdb/libchdb';
import { serveEngine } from '../serve.ts';

export type ClickHouseOptions = {
  configFile: string;
  dataDir: string;
  httpPort: number;
  tcpPort: number;
  /** Where other nodes reach it. */
  gatePort?: number | undefined;
  /** Who ends the server's own query when it is to stop. */
  stopper: { user: string; password: string };
};

// CommonJS only: its types resolve for import, its module does not.
const { DataType, load, open } = createRequire(import.meta.url)('ffi-rs') as typeof import('ffi-rs');

/**
 * libchdb is a whole ClickHouse behind one C function that takes the command line of clickhouse-local. A local
 * ClickHouse listens when a query says so, for as long as a query runs: the last one here runs until it is killed.
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
    // The level in the file is not read: a local ClickHouse takes it from here, and is at "trace" without it.
    '--log-level=error',
    `--path=${options.dataDir}`,
    '--listen_host=127.0.0.1',
    `--http_port=${options.httpPort}`,
    `--tcp_port=${options.tcpPort}`,
    '--query',
    script,
  ];
  let stopping = false;
  const ended = Promise.resolve(
    load({
      library: 'chdb',
      funcName: 'query_stable_v2',
      retType: DataType.I64,
      paramsType: [DataType.I32, DataType.StringArray],
      paramsValue: [args.length, args],
      // The call lasts as long as the server: on a thread of its own, this one goes on listening to the parent.
      runInNewThread: true,
    }),
  );
  const end = () => stopping || process.exit(1);
  ended.then(end, end);
  return Promise.resolve({
    stop: async () => {
      stopping = true;
      await endHold(options);
      await ended;
    },
  });
});

/**
 * Other nodes come in through here. One that is killed resets its connections, and as a library ClickHouse has nobody who
 * catches the error that this is to whoever serves them: the whole process would end. Behind the gate they just end.
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
 * Without its last query the server shuts down in order: it takes no new connections and ends once the open ones have.
 * Clients that keep theirs open are cut off by whoever asked for the stop, when its patience is over.
 */
async function endHold({ httpPort, stopper }: ClickHouseOptions): Promise<void> {
  await fetch(`http://127.0.0.1:${httpPort}`, {
    method: 'POST',
    headers: { 'X-ClickHouse-User': stopper.user, 'X-ClickHouse-Key': stopper.password, connection: 'close' },
    body: `KILL QUERY WHERE startsWith(query, 'SELECT \\'${holdName}\\'') ASYNC`,
  });
}
