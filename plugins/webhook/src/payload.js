// What is posted: a JSON object with headers of traces, or with events.
//
// The host renders the JSON, and no number in it is parsed here, so all of them keep their digits.
const encoder = new TextEncoder();

/** Headers of traces as bodies of requests, each of at most `limit` bytes unless one trace alone has more. */
export function ofTraces(json, limit) {
    return chunks('traces', json, limit);
}

/** Events as bodies of requests. */
export function ofEvents(traceIds, json, limit) {
    const items = Array.from(json, (event, index) => `{"trace_id":"${traceIds[index]}","event":${event}}`);
    return chunks('events', items, limit);
}

function chunks(kind, items, limit) {
    const [begin, end] = [`{"type":"${kind}","${kind}":[`, ']}'];
    const bodies = [];
    let [chunk, size] = [[], 0];
    const finish = () => {
        if (chunk.length > 0) bodies.push(encoder.encode(begin + chunk.join(',') + end));
        [chunk, size] = [[], 0];
    };
    for (const item of items) {
        // A character has at most 3 bytes for each of its units; the exact number matters only near the limit.
        const bytes = item.length * 3 + 1 > limit - size ? encoder.encode(item).length + 1 : item.length * 3 + 1;
        if (size > 0 && size + bytes > limit - begin.length - end.length) finish();
        chunk.push(item);
        size += bytes;
    }
    finish();
    return bodies;
}
