// Follow the live tail of one service, and continue it after each interruption.

import { readEvents } from "./event_stream.js";

const AGAIN_MS = 1_000; // after a stream has ended: each lasts a quarter of an hour at most
const AGAIN_MS_MAX = 20_000; // after failures in a row

/**
 * Follow the tail at `path` of `service` until `signal` is aborted. Returns the id after which it can
 * be continued, as a function.
 *
 * `onLine(line)` gets each line, `onLeftOut(number)` how many had no place, `onOpen()` that lines come
 * from now on, and `onError(error)` why they do not.
 */
export function follow(call, service, path, { after, onLine, onLeftOut, onOpen, onError, signal }) {
  let last = after;
  let failures = 0;

  async function once() {
    const headers = last ? { "Last-Event-ID": last } : {};
    const response = await call(service, "GET", path, undefined, { signal, headers });
    failures = 0;
    onOpen();
    await readEvents(response, {
      onId(id) {
        last = id;
      },
      onEvent({ name, data }) {
        if (name === "message") onLine(data);
        else if (name === "left_out") onLeftOut(data.lines);
      },
    });
  }

  async function go() {
    while (!signal.aborted) {
      try {
        await once();
      } catch (error) {
        if (signal.aborted) return;
        failures += 1;
        onError(error);
      }
      const pause = Math.min(AGAIN_MS * 2 ** Math.max(0, failures - 1), AGAIN_MS_MAX);
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  go();
  return () => last;
}
