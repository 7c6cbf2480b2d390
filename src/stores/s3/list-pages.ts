import type { Objects, StoredObject } from './client.ts';

/**
 * Lists objects with a key prefix, page by page in order. Concurrent removals are safe.
 *
 * @param objects_max the last page is the one that reaches this number
 * @throws StoreError
 */
export async function* listObjectPages(
  objects: Objects,
  prefix: string,
  { delimiter, objects_max = Number.POSITIVE_INFINITY }: { delimiter?: '/'; objects_max?: number } = {},
): AsyncGenerator<StoredObject[]> {
  let after: string | undefined;
  for (let seen = 0; seen < objects_max; ) {
    const page = await objects.list(prefix, { after, ...(delimiter !== undefined && { delimiter }) });
    if (page.length === 0) return;
    yield page;
    seen += page.length;
    after = page.at(-1)?.key;
  }
}
