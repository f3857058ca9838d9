// Whether a trace matches a query.
import { key } from '#sdk/keyvalue';
import { matchesHeader } from './header.js';
import { ofTrace } from './keys.js';

export function matches(bucket, query, id, header) {
    // What the header tells comes first, since it costs nothing more.
    return matchesHeader(query, header) && ofEvents(bucket, query, id, header);
}

function ofEvents(bucket, query, id, header) {
    const some = (keys) => bucket.getMany(keys).some((value) => value !== undefined);
    const kind = (name) => key('k', id, name);
    if (query.eventTypes !== undefined && !some(query.eventTypes.map(kind))) return false;
    if (query.hasError !== undefined) {
        const failed = header.status === 'failed' || some([kind('ActorFailed'), key('x', id, '1')]);
        if (failed !== query.hasError) return false;
    }
    return query.actor === undefined || hasActor(bucket, id, query.actor);
}

function hasActor(bucket, id, part) {
    const prefix = ofTrace('a', id);
    const decoder = new TextDecoder();
    for (const stored of bucket.keys(prefix)) {
        if (decoder.decode(stored.subarray(prefix.length)).includes(part)) return true;
    }
    if (bucket.get(ofTrace('l', id)) === undefined) return false;
    let cursor;
    do {
        const page = bucket.scanEvents(ofTrace('e', id), { cursor });
        for (const actor of page.events.column('actor-id')) if (actor.includes(part)) return true;
        cursor = page.next;
    } while (cursor !== undefined);
    return false;
}
