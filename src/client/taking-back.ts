/** Requests that are queries, which go on at the server when only a proxy knows that nobody waits. */
const queryPath = /^\/v1\/(?:sql|sql\/saved\/[^/]+\/[^/]+\/run|datasets\/[^/]+\/query)$/;

export const isQuery = (method: string, path: string): boolean => method === 'POST' && queryPath.test(path);

/**
 * Has a query cancelled that is given up before its answer is there as a whole.
 *
 * @param cancel asks the server for it
 * @returns what the answer goes through, and what ends it without one
 */
export function takingBack(signal: AbortSignal | undefined, cancel: () => void) {
  let isOver = false;
  const end = () => {
    isOver = true;
    signal?.removeEventListener('abort', giveUp);
  };
  const giveUp = () => {
    if (isOver) return;
    end();
    cancel();
  };
  signal?.addEventListener('abort', giveUp, { once: true });
  return {
    end,
    giveUp,
    through({ body, status, statusText, headers }: Response): Response {
      const reader = body?.getReader();
      if (reader === undefined) {
        end();
        return new Response(null, { status, statusText, headers });
      }
      const watched = new ReadableStream<Uint8Array>(
        {
          async pull(controller) {
            const { done, value } = await reader.read();
            if (!done) return controller.enqueue(value);
            end();
            controller.close();
          },
          async cancel(reason) {
            giveUp();
            await reader.cancel(reason);
          },
        },
        { highWaterMark: 0 },
      );
      return new Response(watched, { status, statusText, headers });
    },
  };
}
