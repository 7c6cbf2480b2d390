import * as z from 'zod';

/** Ids of resources: services, relations, rules, channels and so on. */
export const resourceId = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/, '1 to 128 letters, digits, dots, underscores and hyphens');

export const label = z.string().min(1).max(200);

/** A value that may be secret: the text itself, or the name of a stored secret. */
export const secretName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_.-]{0,299}$/, '1 to 300 letters, digits, dots, underscores and hyphens');
export const secretRef = z.strictObject({ secret: secretName });
export type SecretRef = z.output<typeof secretRef>;

export function secretText(text: z.ZodString) {
  return z.union([text, secretRef]);
}

/** A value that HTTP can send as a field of a header. */
export const headerText = /^[\t -~\u00a0-\u00ff]*$/;

/** Fields of a request's header. */
export const headers = z
  .record(
    z.string().regex(/^[A-Za-z0-9_-]{1,100}$/, '1 to 100 letters, digits, underscores and hyphens'),
    secretText(z.string().max(4_000).regex(headerText, 'one line of Latin-1 text')),
  )
  .refine((fields) => {
    const names = Object.keys(fields).map((name) => name.toLowerCase());
    return new Set(names).size === names.length;
  }, 'each field once, in upper or lower case');

/** Labels of alerts. */
export const labels = z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,63}$/), z.string().max(500));

/** An IANA time zone. */
export const timeZone = z
  .string()
  .max(64)
  .refine((zone) => isTimeZone(zone), 'an IANA time zone, such as Europe/Berlin');

function isTimeZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}

/** Services that a rule, a silence or a maintenance window is about. */
export const serviceSelector = z
  .string()
  .max(140)
  .regex(
    /^(?:\*|stack:.+|type:.+|[A-Za-z0-9][A-Za-z0-9._-]{0,127})$/,
    'a service id, `stack:<name>`, `type:<name>` or `*`',
  );

/** Whether a selector names a service. */
export function selects(selector: string, service: { serviceId: string; stack: string; serviceType: string }): boolean {
  if (selector === '*' || selector === service.serviceId) return true;
  if (selector.startsWith('stack:')) return service.stack === selector.slice('stack:'.length);
  return selector.startsWith('type:') && service.serviceType === selector.slice('type:'.length);
}
