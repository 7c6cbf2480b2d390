import { freeNodePorts, freePorts, type Stack, startStack } from '../local/stack.ts';

/** ClickHouse servers of a stack: what holds for one has to hold for several. `npm run test:cluster` sets it. */
export const testNodes = Number(process.env.TEST_NODES ?? 1);

/** A stack on free ports, and the environment of a Worker over it. */
export async function startTestStack(
  dataDir: string,
  nodes = testNodes,
): Promise<{ stack: Stack; env: Record<string, string> }> {
  const ports = await freePorts();
  const stack = await startStack({ dataDir, ports, nodes: nodes === 1 ? [] : await freeNodePorts(ports, nodes) });
  return { stack, env: { ...stack.env, TIMESTORE_ADMIN_KEY: 'local-admin', TIMESTORE_LOCAL: 'true' } };
}
