// For tests of a plugin that run in Node.js, without a host.
import { EventBatch, encode } from './batch.js';
import { Events } from '../events.js';
import { Uuid } from '../uuid.js';

export { reset } from './keyvalue.js';
export { lines } from './log.js';

let last = 0n;
const next = () => new Uuid(0n, (last += 1n));

export function trace(fields = {}) {
    const header = {
        traceId: next(),
        flowId: 'flow',
        executionId: next(),
        startTime: 0n,
        endTime: undefined,
        status: 'running',
        error: undefined,
        tags: [],
        ...fields,
    };
    return { body: new TextEncoder().encode(`header of ${header.traceId}`), ...header };
}

export function events(...rows) {
    const complete = rows.map((fields) => {
        const row = { traceId: next(), eventId: next(), timestamp: 0n, eventType: 'ActorCreated', actorId: 'actor', ...fields };
        return { body: encode(row), ...row };
    });
    return new Events(EventBatch.of(complete));
}
