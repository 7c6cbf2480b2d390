/** Status codes of `service_status`, by name. */
export const statusCodes = { ok: 0, degraded: 1, failed: 2, starting: 3, stopped: 4, unknown: 5 } as const;

export type StatusName = keyof typeof statusCodes;
export type StatusCode = (typeof statusCodes)[StatusName];

export const statusNames = Object.keys(statusCodes) as StatusName[];

/** The worst first. A roll-up of several services leaves `stopped` out. */
const worstFirst: StatusCode[] = [
  statusCodes.failed,
  statusCodes.degraded,
  statusCodes.unknown,
  statusCodes.starting,
  statusCodes.ok,
];

/** The status of a group of services: the worst of its members. `unknown` for a group without a member that runs. */
export function rollUp(codes: StatusCode[]): StatusCode {
  return worstFirst.find((code) => codes.includes(code)) ?? statusCodes.unknown;
}
