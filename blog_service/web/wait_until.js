// Wait for what another service is about to know.

const PAUSE_MS = 20;
const PAUSE_MS_MAX = 1_000;

/**
 * What `look()` finds, asked again and again until it is something; null once so many milliseconds
 * have passed. A look that throws has found nothing.
 */
export async function until(look, withinMs) {
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
