/** A Redis command as it goes over the wire. */
export type Command = (string | Buffer)[];

/** A request that cannot be a command: answered with 400, as Redis's own refusals are. */
export class CommandError extends Error {}

/** Each of these changes what a connection is, or holds it for long. A request over HTTP has no connection of its own. */
const connectionBound = new Set(
  (
    'MULTI EXEC DISCARD WATCH UNWATCH SUBSCRIBE PSUBSCRIBE SSUBSCRIBE UNSUBSCRIBE PUNSUBSCRIBE SUNSUBSCRIBE MONITOR ' +
    'SELECT QUIT RESET HELLO AUTH CLIENT READONLY READWRITE ASKING SYNC PSYNC REPLCONF FAILOVER ' +
    'BLPOP BRPOP BLMOVE BRPOPLPUSH BLMPOP BZPOPMIN BZPOPMAX BZMPOP'
  ).split(' '),
);

/** The body of `POST /`: one command. */
export function parseCommand(body: Buffer): Command {
  return toCommand(parseJson(body));
}

/** The body of `/pipeline` and `/multi-exec`: a list of commands. */
export function parseCommands(body: Buffer): Command[] {
  const commands = parseJson(body);
  if (!Array.isArray(commands) || commands.length === 0) {
    throw new CommandError('ERR the body must be a JSON array of commands, each an array, and not empty');
  }
  return commands.map(toCommand);
}

/** `/set/key/value?EX=10`: the path, then the raw body where there is one, then the query parameters. */
export function commandFromPath(path: string, query: URLSearchParams, body: Buffer): Command {
  const command: Command = path.split('/').filter(Boolean).map(decodeURIComponent);
  if (body.length > 0) command.push(body);
  for (const [name, value] of query) {
    if (name === '_token') continue;
    command.push(name);
    if (value !== '') command.push(value);
  }
  return checked(command);
}

export function nameOf(command: Command): string {
  return String(command[0]).toUpperCase();
}

function toCommand(value: unknown): Command {
  if (!Array.isArray(value)) throw new CommandError('ERR a command must be a JSON array');
  for (let at = 0; at < value.length; at += 1) {
    const argument: unknown = value[at];
    if (typeof argument === 'string') continue;
    if (typeof argument !== 'number' && typeof argument !== 'boolean') {
      throw new CommandError('ERR an argument of a command must be a string, a number or a boolean');
    }
    value[at] = String(argument);
  }
  return checked(value as string[]);
}

function checked(command: Command): Command {
  if (command.length === 0) throw new CommandError('ERR empty command');
  const name = nameOf(command);
  const blocks = (name === 'XREAD' || name === 'XREADGROUP') && command.some((part) => /^block$/i.test(String(part)));
  if (blocks || connectionBound.has(name)) {
    throw new CommandError(`ERR Command is not available over REST: '${name}'`);
  }
  return command;
}

type ReviveWithSource = (key: string, value: unknown, context: { source?: string }) => unknown;

/** A number that a double does not hold, by its digits as they were sent. */
const digitsOfInexact: ReviveWithSource = (_key, value, { source }) =>
  typeof value === 'number' && !Number.isSafeInteger(value) ? (source ?? value) : value;

function parseJson(body: Buffer): unknown {
  const text = body.toString('utf8');
  try {
    const value: unknown = JSON.parse(text);
    return hasInexactNumber(value) ? JSON.parse(text, digitsOfInexact as Parameters<typeof JSON.parse>[1]) : value;
  } catch {
    throw new CommandError('ERR failed to parse the body as JSON');
  }
}

function hasInexactNumber(value: unknown): boolean {
  if (Array.isArray(value)) return value.some(hasInexactNumber);
  return typeof value === 'number' && !Number.isSafeInteger(value);
}
