import type { Objects, StoredObject } from './client.ts';

/**
 * Objects whose keys begin so, by pages in order; what is removed meanwhile does not disturb it.
 *
 * @param most after so many no further page follows
 * @throws StoreError
 */
export async function* pagesOf(
  objects: Objects,
  prefix: string,
  { delimiter, most = Number.POSITIVE_INFINITY }: { delimiter?: '/'; most?: number } = {},
): AsyncGenerator<StoredObject[]> {
  let after: string | undefined;
  for (let seen = 0; seen < most; ) {
    const page = await objects.list(prefix, { after, ...(delimiter !== undefined && { delimiter }) });
    if (page.length === 0) return;
    yield page;
    seen += page.length;
    after = page.at(-1)?.key;
  }
}
