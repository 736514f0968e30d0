// Read server-sent events from a response, as WHATWG HTML 9.2 says. EventSource cannot be used, since
// it sends no access token.

/**
 * Read the events of `response` until it ends: `onEvent({ name, data })` for each, with its data read
 * as JSON, and `onId(id)` for each id after which the stream can be continued.
 *
 * Throws what reading throws, also when the request's signal is aborted.
 */
export async function readEvents(response, { onEvent, onId }) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) readBlock(block, onEvent, onId);
  }
}

function readBlock(block, onEvent, onId) {
  let name = "message";
  const data = [];
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    const [field, value] = [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, "")];
    if (field === "event") name = value;
    else if (field === "data") data.push(value);
    else if (field === "id") onId(value);
  }
  if (data.length) onEvent({ name, data: JSON.parse(data.join("\n")) });
}
