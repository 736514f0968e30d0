// Polling, for a change that is on its way to another service.

const PAUSE_MS = 20;
const PAUSE_MS_MAX = 1_000;

/**
 * Call `look()` with growing pauses until it resolves to a truthy value, and return it; return null
 * after `withinMs` milliseconds. A call that throws counts as null.
 */
export async function waitUntil(look, withinMs) {
  const begun = performance.now();
  for (
    let pause = PAUSE_MS;
    performance.now() - begun < withinMs;
    pause = Math.min(pause * 1.6, PAUSE_MS_MAX)
  ) {
    const found = await Promise.resolve(look()).catch(() => null);
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
  return null;
}
