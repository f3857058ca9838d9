// Whether a trace matches a query.
import { Events, Uuid, type TraceQuery } from '#sdk';
import { key, type Bucket } from '#sdk/keyvalue';
import { matchesHeader, type Header } from './header.js';
import { ofTrace } from './keys.js';

export function matches(bucket: Bucket, query: TraceQuery, id: Uuid, header: Header): boolean {
    // What the header tells comes first, since it costs nothing more.
    return matchesHeader(query, header) && ofEvents(bucket, query, id, header);
}

function ofEvents(bucket: Bucket, query: TraceQuery, id: Uuid, header: Header): boolean {
    const some = (keys: Uint8Array[]) => bucket.getMany(keys).some((value) => value !== undefined);
    const kind = (name: string) => key('k', id, name);
    if (query.eventTypes !== undefined && !some(query.eventTypes.map(kind))) return false;
    if (query.hasError !== undefined) {
        const failed = header.status === 'failed' || some([kind('ActorFailed'), key('x', id, '1')]);
        if (failed !== query.hasError) return false;
    }
    return query.actor === undefined || hasActor(bucket, id, query.actor);
}

function hasActor(bucket: Bucket, id: Uuid, part: string): boolean {
    const prefix = ofTrace('a', id);
    const decoder = new TextDecoder();
    for (const stored of bucket.keys(prefix)) {
        if (decoder.decode(stored.subarray(prefix.length)).includes(part)) return true;
    }
    if (bucket.get(ofTrace('l', id)) === undefined) return false;
    let cursor: Uint8Array | undefined;
    do {
        const page: { events: Events; next?: Uint8Array } = bucket.scanEvents(ofTrace('e', id), { cursor });
        for (const actor of page.events.column('actor-id')) if (actor.includes(part)) return true;
        cursor = page.next;
    } while (cursor !== undefined);
    return false;
}
