// When a fault was noticed, named, repaired and proved, by what the services report. Pure.
//
// The times are those of the services' own records where there are any (comparisons, proofs), and
// else of the moment at which their status first said so. Nothing is estimated.

/** The stages of every fault, in order. */
export const STAGES = ["noticed", "named", "repaired", "proved"];

/** Whether the status of either service says that the pipe is broken. */
const isBroken = ({ near, far }) => near.pipe.startsWith("broken") || far.pipe.startsWith("broken") || far.consumers === 0;

/** The line of the service that says it best. */
const complaint = ({ near, far }) => [far.pipe, near.pipe].find((line) => line.startsWith("broken")) ?? far.pipe;

/** When the last proof came to its verdict, in ms; null before the first. */
const provedAt = ({ at, far }) => (far.proof.age_seconds === null ? null : at - far.proof.age_seconds * 1000);

/**
 * Return `{noticed, named, repaired, proved}`, each null or `{at, text}` with `at` in ms.
 *
 * `broken` is the fault as the injector reports it. `looks` are `{at, near, far}`, the status of both
 * services over time, oldest first. `runs` are comparisons with their findings, oldest first.
 */
export function stagesOf(broken, looks, runs) {
  const since = Date.parse(broken.at);
  const later = looks.filter(({ at }) => at >= since);
  const stages = broken.users.length ? ofUsers(broken.users, since, runs) : ofPipe(later, broken);
  const proof = stages.repaired && later.find((look) => look.far.proof.state === "equal" && provedAt(look) >= stages.repaired.at);
  return { ...stages, proved: proof ? { at: provedAt(proof), text: `${proof.far.proof.users.toLocaleString("en")} users, 0 differ` } : null };
}

/**
 * Return the stages of a fault with those that were reached `before`: a page that was reloaded has
 * missed looks, and would take a later proof for the first.
 */
export function keptStages(before, stages) {
  return Object.fromEntries(STAGES.map((name) => [name, before?.[name] ?? stages[name]]));
}

/** What became of harmed users: comparisons name each of them, and say who was repaired. */
function ofUsers(users, since, runs) {
  const ended = runs.filter((run) => run.finished_at !== null && Date.parse(run.finished_at) >= since);
  const findings = ended.flatMap((run) => (run.findings ?? []).filter(({ user_id: id }) => users.includes(id)).map((finding) => ({ run, ...finding })));
  if (!findings.length) return { noticed: null, named: null, repaired: null };
  const [{ run: first }] = findings;
  const kinds = Map.groupBy(findings.filter(({ run }) => run === first), ({ kind }) => kind);
  const namedAt = Date.parse(first.finished_at);
  const repairs = users.map((user) => findings.find((finding) => finding.user_id === user && finding.repaired));
  const last = repairs.every(Boolean) && Math.max(...repairs.map(({ run }) => Date.parse(run.finished_at)));
  return {
    noticed: { at: Math.max(since, Date.parse(first.started_at)), text: first.reason === "proof" ? "a proof found other digests" : `a comparison (${first.reason})` },
    named: { at: namedAt, text: [...kinds].map(([kind, each]) => `${each.length} ${kind}`).join(", ") },
    repaired: last ? { at: last, text: repairs.some(({ run }) => run.reason === "operator") ? "as you asked" : "by itself" } : null,
  };
}

/** What became of the pipe: a status says that it is broken, and later that it is not. */
function ofPipe(looks, broken) {
  const first = looks.find(isBroken);
  if (!first) return { noticed: null, named: null, repaired: null };
  const seen = { at: first.at, text: complaint(first) };
  const back = broken.is_over && looks.findLast(isBroken);
  const after = back && looks.find((look) => look.at > back.at);
  return {
    noticed: { at: seen.at, text: "the status" },
    named: seen,
    repaired: after ? { at: after.at, text: after.far.pipe } : null,
  };
}
